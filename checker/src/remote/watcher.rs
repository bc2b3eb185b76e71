//! Telling a host that something has changed, so that it asks for a new snapshot.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::error::Error;
use crate::watch::{Changes, LOOK_EVERY};

use super::agent::Agent;
use super::protocol::{Follow, Told};

/// Looking takes at most a fifth of a processor, however slow it is.
const REST: u32 = 4;

/// What is followed, and whether the host wants to hear of the next change.
#[derive(Default)]
pub(super) struct Watcher {
    /// Since the last snapshot nothing was told.
    is_armed: AtomicBool,
    following: Mutex<Option<Following>>,
}

struct Following {
    follow: Follow,
    /// Wakes the thread that follows.
    news: std::os::fd::OwnedFd,
    told: bool,
}

impl Watcher {
    /// A snapshot is about to be taken: a change from now on is news.
    pub(super) fn arm(&self) {
        self.is_armed.store(true, Ordering::SeqCst);
    }

    /// Follows this from now on. Whether the kernel tells of processes.
    pub(super) fn follow(&self, follow: Follow, agent: &Arc<Agent>) -> Result<bool, Error> {
        let mut following = self.following();
        if let Some(following) = &mut *following {
            following.follow = follow;
            let _ = rustix::io::write(&following.news, &1u64.to_ne_bytes());
            return Ok(following.told);
        }
        let failed = |error: std::io::Error| Error::new(format!("eventfd: {error}"));
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let news = eventfd(1, flags).map_err(|error| failed(error.into()))?;
        let wake = news.try_clone().map_err(failed)?;
        let changes = Changes::new()?;
        let told = changes.are_told();
        *following = Some(Following { follow, news, told });
        let agent = Arc::clone(agent);
        std::thread::spawn(move || agent.watcher().run(changes, &wake, &agent));
        Ok(told)
    }

    fn run(&self, mut changes: Changes, news: &impl AsFd, agent: &Agent) {
        let mut pids = Vec::new();
        let mut next_look = Instant::now();
        loop {
            let (has_news, has_events) = wait(news, &changes, next_look);
            if has_news {
                let _ = rustix::io::read(news, &mut [0; 8]);
                let follow = self.following().as_ref().map(|it| it.follow.clone());
                let follow = follow.unwrap_or_default();
                pids = follow.pids;
                changes.watch_folders(follow.folders.into_iter());
            }
            let mut has_changed = has_events && changes.drain();
            let began = Instant::now();
            if began >= next_look {
                has_changed |= changes.look(&pids);
                next_look = Instant::now() + LOOK_EVERY.max(began.elapsed() * REST);
            }
            if has_changed && self.is_armed.swap(false, Ordering::SeqCst) {
                agent.tell(&Told::Changed);
            }
        }
    }

    fn following(&self) -> MutexGuard<'_, Option<Following>> {
        self.following.lock().expect("no one panics with it")
    }
}

/// Waits for something new to follow, for events, or for the time to look.
fn wait(news: &impl AsFd, changes: &Changes, until: Instant) -> (bool, bool) {
    let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let timeout = Timespec::try_from(left).ok();
    let files = [news.as_fd()].into_iter().chain(changes.files());
    let mut files: Vec<PollFd> =
        files.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN)).collect();
    if poll(&mut files, timeout.as_ref()).is_err() {
        return (false, false);
    }
    let is_ready = |file: &PollFd| !file.revents().is_empty();
    (is_ready(&files[0]), files[1..].iter().any(is_ready))
}
