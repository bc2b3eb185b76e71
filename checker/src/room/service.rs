//! Serving the word on the room's loopback interface: one thread, one poll(2).

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::event::{PollFd, PollFlags, poll};

/// How many clients may be slow to hang up before the first of them is cut off.
const MOST_CLIENTS: usize = 32;

/// Answers whoever connects with `word`, reaps the orphans of the PID namespace, and returns when a
/// signal says to end.
pub(super) fn serve(signals: &SignalFd, listener: &TcpListener, word: &str) -> io::Result<()> {
    let mut clients: Vec<TcpStream> = Vec::new();
    loop {
        wait(signals, listener, &clients)?;
        while let Some(signal) = signals.read_signal()? {
            if signal.ssi_signo != Signal::SIGCHLD as u32 {
                return Ok(());
            }
        }
        reap();
        clients.retain_mut(is_there);
        while let Ok((client, _)) = listener.accept() {
            if clients.len() == MOST_CLIENTS {
                clients.remove(0);
            }
            clients.extend(answer(client, word));
        }
    }
}

/// Waits until there is something to do.
fn wait(signals: &SignalFd, listener: &TcpListener, clients: &[TcpStream]) -> io::Result<()> {
    let others = clients.iter().map(AsFd::as_fd);
    let mut files: Vec<PollFd> = [signals.as_fd(), listener.as_fd()]
        .into_iter()
        .chain(others)
        .map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN))
        .collect();
    match poll(&mut files, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Says the word. The connection stays until the client hangs up: closing it while what the client
/// said is unread would take the word back (tcp(7), RST).
fn answer(mut client: TcpStream, word: &str) -> Option<TcpStream> {
    client.set_nonblocking(true).ok()?;
    writeln!(client, "{word}").ok()?;
    client.shutdown(Shutdown::Write).ok()?;
    Some(client)
}

/// Whether a client, of which we want nothing more, has yet to hang up.
fn is_there(client: &mut TcpStream) -> bool {
    let mut unwanted = [0; 4096];
    match client.read(&mut unwanted) {
        Ok(length) => length > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Waits for whoever was adopted and has ended: this is PID 1 of its namespace.
fn reap() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            Ok(_) | Err(_) => {}
        }
    }
}
