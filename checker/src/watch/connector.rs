//! The kernel's process events: netlink, connector, proc (`linux/cn_proc.h`).

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// `CN_IDX_PROC` and `CN_VAL_PROC`.
const PROC: u32 = 1;
/// `PROC_CN_MCAST_LISTEN`
const LISTEN: u32 = 1;
/// `NLMSG_DONE`
const DONE: u16 = 3;

const FORK: u32 = 0x1;
const EXIT: u32 = 0x8000_0000;

/// Size of `struct nlmsghdr` and of `struct cn_msg` without its data.
const HEADERS: usize = 16 + 20;

/// How long the kernel may take to confirm. It says nothing where it does not report: outside the
/// initial user or PID namespace.
const CONFIRM: Duration = Duration::from_millis(200);

/// A subscription to process events.
pub(super) struct Connector {
    socket: OwnedFd,
    /// Our own children and what they started: their doings change nothing of the learner's.
    ours: BTreeSet<u32>,
}

impl Connector {
    /// Subscribes.
    ///
    /// # Errors
    ///
    /// Without `CAP_NET_ADMIN` in the initial user namespace, outside the initial PID namespace, or
    /// where the kernel was built without `CONFIG_PROC_EVENTS`.
    pub(super) fn open() -> io::Result<Connector> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = Some(netlink::CONNECTOR);
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, PROC))?;
        rustix::net::send(&socket, &subscription(), SendFlags::empty())?;
        let mut connector = Connector { socket, ours: BTreeSet::from([std::process::id()]) };
        connector.await_confirmation()?;
        Ok(connector)
    }

    /// What to poll for reading.
    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Reads all events there are; whether one of them was somebody else's.
    pub(super) fn drain(&mut self) -> bool {
        let mut others = false;
        let mut buffer = [0; 8192];
        loop {
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => return others,
                Ok((length, _)) => {
                    let event = Event::parse(&buffer[..length]);
                    others |= event.is_some_and(|event| self.is_others(event));
                }
                // Events were lost: anything may have happened.
                Err(rustix::io::Errno::NOBUFS) => others = true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return others,
            }
        }
    }

    fn is_others(&mut self, event: Event) -> bool {
        match event {
            Event::Fork { parent, child } if self.ours.contains(&parent) => {
                self.ours.insert(child);
                false
            }
            Event::Fork { .. } => true,
            Event::Exit { process } if process != std::process::id() => !self.ours.remove(&process),
            Event::Exit { process } | Event::Other { process } => !self.ours.contains(&process),
        }
    }

    fn await_confirmation(&mut self) -> io::Result<()> {
        let timeout = Timespec::try_from(CONFIRM).map_err(io::Error::other)?;
        let mut sockets = [PollFd::new(&self.socket, PollFlags::IN)];
        match poll(&mut sockets, Some(&timeout))? {
            0 => Err(io::Error::other("the kernel does not report process events here")),
            _ => Ok(()),
        }
    }
}

/// The request: `nlmsghdr`, `cn_msg`, and the one word `PROC_CN_MCAST_LISTEN`.
fn subscription() -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADERS + 4);
    message.extend(((HEADERS + 4) as u32).to_ne_bytes());
    message.extend(DONE.to_ne_bytes());
    message.extend([0; 10]);
    message.extend(PROC.to_ne_bytes());
    message.extend(PROC.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(4u16.to_ne_bytes());
    message.extend([0; 2]);
    message.extend(LISTEN.to_ne_bytes());
    message
}

/// What of `struct proc_event` matters here; processes by their thread group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Fork { parent: u32, child: u32 },
    Exit { process: u32 },
    Other { process: u32 },
}

impl Event {
    /// Nothing for a thread's birth or death, a confirmation, or what is cut short.
    fn parse(message: &[u8]) -> Option<Event> {
        let event = message.get(HEADERS..)?;
        let word = |at: usize| {
            let bytes = event.get(16 + 4 * at..20 + 4 * at)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let what = u32::from_ne_bytes(event.get(..4)?.try_into().ok()?);
        match what {
            0 => None,
            FORK => {
                let (parent, child, child_group) = (word(1)?, word(2)?, word(3)?);
                (child == child_group).then_some(Event::Fork { parent, child })
            }
            EXIT => {
                let (thread, group) = (word(0)?, word(1)?);
                (thread == group).then_some(Event::Exit { process: group })
            }
            _ => Some(Event::Other { process: word(1)? }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(what: u32, words: &[u32]) -> Vec<u8> {
        let mut message = vec![0; HEADERS];
        message.extend(what.to_ne_bytes());
        message.extend([0; 12]);
        message.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        message
    }

    #[test]
    fn a_new_process_is_told_from_a_new_thread() {
        let process = Event::parse(&message(FORK, &[7, 7, 9, 9]));
        assert_eq!(process, Some(Event::Fork { parent: 7, child: 9 }));
        assert_eq!(Event::parse(&message(FORK, &[7, 7, 9, 7])), None);
    }

    #[test]
    fn a_message_cut_short_is_no_event() {
        let whole = message(EXIT, &[5, 5, 0, 17]);
        assert_eq!(Event::parse(&whole), Some(Event::Exit { process: 5 }));
        assert_eq!(Event::parse(&whole[..HEADERS + 18]), None);
        assert_eq!(Event::parse(&[]), None);
    }
}
