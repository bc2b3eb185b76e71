//! What a learner has done so far: one state file, written atomically, with the learner's rights.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::error::Error;
use crate::facts::Start;

/// What is known of a learner's work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    schema: String,
    /// By exercise.
    #[serde(default)]
    pub exercises: BTreeMap<String, Progress>,
}

/// What is known of one exercise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Progress {
    /// What `podlab start` noted.
    pub start: Option<Start>,
    /// How many hints were given.
    pub hints: usize,
    /// The mistake recognised by the last check, until its hint was given.
    pub mistake: Option<String>,
    /// Points of the best check so far.
    pub points: u32,
    /// Whether everything held once.
    pub done: bool,
}

/// Name and version of the file's format.
const SCHEMA: &str = "podlab/state/v1";

/// A state file larger than this was not written by podlab.
const MOST_BYTES: u64 = 4 << 20;

impl Default for State {
    fn default() -> Self {
        State { schema: SCHEMA.to_owned(), exercises: BTreeMap::new() }
    }
}

impl State {
    /// What is known of an exercise; nothing, at first.
    pub fn of(&self, exercise: &str) -> Progress {
        self.exercises.get(exercise).cloned().unwrap_or_default()
    }
}

/// The folder that holds a learner's state.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
    caller: Caller,
}

impl Home {
    /// The caller's.
    ///
    /// # Errors
    ///
    /// When the caller has no home folder.
    pub fn of(caller: &Caller) -> Result<Home, Error> {
        let folder = caller.state_folder().ok_or_else(|| {
            Error::new(format!("user {} has no home folder", caller.name))
                .hint("set PODLAB_HOME to a folder of yours")
        })?;
        Ok(Home { folder, caller: caller.clone() })
    }

    /// The caller.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The folder of one exercise, made if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn exercise_folder(&self, exercise: &str) -> Result<PathBuf, Error> {
        let folder = self.folder.join(exercise);
        self.caller.with_rights(|| make_folder(&folder))?;
        Ok(folder)
    }

    /// The state as it is.
    ///
    /// # Errors
    ///
    /// When the file is there but cannot be read or understood. It is then left alone.
    pub fn load(&self) -> Result<State, Error> {
        self.caller.with_rights(|| load(&self.file()))
    }

    /// Changes the state, one podlab at a time.
    ///
    /// # Errors
    ///
    /// As [`Home::load`], or when the file cannot be written; the state is then as it was.
    pub fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        self.caller.with_rights(|| {
            make_folder(&self.folder)?;
            let _lock = lock(&self.folder.join("lock"))?;
            let mut state = load(&self.file())?;
            let result = change(&mut state);
            store(&self.folder, &self.file(), &state)?;
            Ok(result)
        })
    }

    fn file(&self) -> PathBuf {
        self.folder.join("state.json")
    }
}

fn make_folder(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|error| {
        Error::file(folder, error).hint("set PODLAB_HOME to a folder that you may write to")
    })
}

fn load(path: &Path) -> Result<State, Error> {
    let content = match read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State::default()),
        Err(error) => return Err(Error::file(path, error)),
    };
    let odd = |why: String| {
        Error::file(path, why).hint("move the file away: podlab begins a new one, progress is lost")
    };
    let state: State = serde_json::from_slice(&content).map_err(|error| odd(error.to_string()))?;
    if state.schema != SCHEMA {
        return Err(odd(format!("schema {:?}, and this podlab knows {SCHEMA:?}", state.schema)));
    }
    Ok(state)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let mut content = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

fn lock(path: &Path) -> Result<File, Error> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| Error::file(path, std::io::Error::from(error)))?;
    rustix::fs::flock(file.as_fd(), FlockOperation::LockExclusive)
        .map_err(|error| Error::file(path, std::io::Error::from(error)))?;
    Ok(File::from(file))
}

fn store(folder: &Path, path: &Path, state: &State) -> Result<(), Error> {
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, state)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| Error::file(path, error))
}
