//! *locked-room*: joining the namespaces of a process that is there (setns(2), nsenter(1)).

use crate::exercise::{Check, Exercise, Facts, How, Mistake, Scene, Subject, Target, Verdict};
use crate::facts::{Kind, Observation, Process, Reading, Request, Room};
use crate::params::Params;

/// The exercise.
pub(super) const EXERCISE: Exercise = Exercise {
    id: "locked-room",
    chapter: "joining",
    title: "The locked room",
    task,
    target: Some(Target::LockedRoom),
    reads_cgroups: false,
    subjects,
    checks: &[
        Check {
            id: "file-word",
            claim: "you have the word in the room's file",
            points: 2,
            needs: &[],
            how: How::Probe(ask, |scene, seen| has_word(scene, seen, Word::File)),
        },
        Check {
            id: "network-word",
            claim: "you have the word that its network answers",
            points: 2,
            needs: &[],
            how: How::Probe(ask, |scene, seen| has_word(scene, seen, Word::Network)),
        },
        Check {
            id: "host-word",
            claim: "you have the word that is its host name",
            points: 1,
            needs: &[],
            how: How::Probe(ask, |scene, seen| has_word(scene, seen, Word::Host)),
        },
    ],
    mistakes: &[
        Mistake {
            id: "read-outside",
            check: "file-word",
            recognise: read_outside,
            explain: "the file was read outside. In the room another file system is mounted over \
                      its folder: the same path leads to another file.",
            hint: "join the mount namespace of the target, then read the same path",
        },
        Mistake {
            id: "earlier-room",
            check: "file-word",
            recognise: earlier_room,
            explain: "the answer is that of an earlier room. Each podlab start makes a new one, \
                      with another process and other words.",
            hint: "podlab show locked-room names the process that is the target now",
        },
        Mistake {
            id: "joined-without-mount",
            check: "file-word",
            recognise: |scene| joined_without(scene, Word::File),
            explain: "you have joined namespaces of the target, but not its mount namespace. Each \
                      kind is joined by itself, and without this one a path leads where it always \
                      led.",
            hint: "compare readlink /proc/PID/ns/mnt of yours with that of the target",
        },
        Mistake {
            id: "joined-without-net",
            check: "network-word",
            recognise: |scene| joined_without(scene, Word::Network),
            explain: "you have joined namespaces of the target, but not its network namespace. Its \
                      127.0.0.1 is not yours: each network namespace has a loopback interface of \
                      its own.",
            hint: "compare readlink /proc/PID/ns/net of yours with that of the target",
        },
        Mistake {
            id: "made-not-joined",
            check: "network-word",
            recognise: made_not_joined,
            explain: "a process of yours is in a new network namespace, not in that of the target. \
                      Two that were made alike are still two, and in the new one no one listens.",
            hint: "unshare(2) makes a namespace, setns(2) joins one that is there",
        },
        Mistake {
            id: "asked-the-host",
            check: "host-word",
            recognise: asked_the_host,
            explain: "this is the machine's host name. The room has one of its own, in its UTS \
                      namespace.",
            hint: "join the UTS namespace of the target before you ask for the host name",
        },
        Mistake {
            id: "joined-without-uts",
            check: "host-word",
            recognise: |scene| joined_without(scene, Word::Host),
            explain: "you have joined namespaces of the target, but not its UTS namespace, to \
                      which the host name belongs.",
            hint: "compare readlink /proc/PID/ns/uts of yours with that of the target",
        },
    ],
    hints: &[
        "what a path leads to, what 127.0.0.1 is, and what the host is called: each belongs to one \
         kind of namespace, mount, network and UTS",
        "a process can join a namespace that is there: setns(2), and in a shell nsenter(1). Name \
         the kinds. If you are not root, join the room's user namespace first and stay who you \
         are: --user --preserve-credentials",
        "a joined mount namespace shows your own files, too: cat, hostname and bash work in there; \
         bash connects by cat </dev/tcp/127.0.0.1/PORT",
        "something like: nsenter --target PID --mount --net --uts bash, and in there cat FILE; \
         hostname; cat </dev/tcp/127.0.0.1/PORT",
    ],
};

fn task(_params: &Params) -> String {
    "A process lives in namespaces of its own, and with it three words: one in a\n\
     file, one that its loopback interface answers to whoever connects, one that\n\
     is its host name. From outside, the same path, port and question give\n\
     something else, or nothing.\n\
     Bring the words out and write them into the answer file, in any order, apart\n\
     by white space or dashes. A word looks like this: heron-2741."
        .to_owned()
}

/// One of the three.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    File,
    Network,
    Host,
}

impl Word {
    const ALL: [Word; 3] = [Word::File, Word::Network, Word::Host];

    /// The kind of namespace that holds it.
    fn kind(self) -> Kind {
        match self {
            Word::File => Kind::Mnt,
            Word::Network => Kind::Net,
            Word::Host => Kind::Uts,
        }
    }

    /// Where it is to be had.
    fn place(self, room: &Room) -> String {
        let pid = room.keeper.pid;
        match self {
            Word::File => {
                format!("what {} holds in the mount namespace of process {pid}", room.note)
            }
            Word::Network => format!(
                "what 127.0.0.1 port {} answers in the network namespace of process {pid}",
                room.port
            ),
            Word::Host => format!("the host name in the UTS namespace of process {pid}"),
        }
    }
}

fn subjects(facts: &Facts) -> Vec<Subject> {
    let keeper = facts.start.and_then(|start| start.room.as_ref()).map(|room| room.keeper);
    let standing = keeper.and_then(|id| facts.snapshot.life(id)).filter(|keeper| keeper.is_alive());
    vec![standing.map_or(Subject::Nothing, |keeper| Subject::Process(keeper.id))]
}

fn room<'a>(scene: &Scene<'a>) -> Option<&'a Room> {
    scene.facts.start?.room.as_ref()
}

fn ask(scene: &Scene) -> Option<Request> {
    Some(Request::Answer { path: room(scene)?.answer.clone() })
}

fn has_word(scene: &Scene, observation: &Observation, wanted: Word) -> Verdict {
    let (Some(room), Observation::Answer { text }) = (room(scene), observation) else {
        return Verdict::cannot_tell("there is no room");
    };
    if text.is_denied() {
        return Verdict::cannot_tell(format!("{}: permission denied", room.answer));
    }
    let words = words_in(text);
    if let Some(word) = words.iter().find(|word| is_word(room, word, wanted)) {
        return Verdict::holds(word);
    }
    if scene.process().is_none() {
        return Verdict::cannot_tell(
            "the room's process has ended; podlab start locked-room prepares another room",
        );
    }
    let saw = match (text.known(), words.len()) {
        (None, _) => format!("no file {}", room.answer),
        (_, 0) => format!("no word in {}", room.answer),
        (_, 1) => "one word, and not this one".to_owned(),
        (_, count) => format!("{count} words, and not this one"),
    };
    Verdict::fails(saw, wanted.place(room))
}

/// How many words of an answer are looked at.
const MOST_WORDS: usize = 8;

/// The words in an answer, whatever is between them.
fn words_in(text: &Reading<String>) -> Vec<String> {
    let text = text.known().map(|text| text.to_lowercase()).unwrap_or_default();
    let parts: Vec<&str> =
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
    let pairs = parts.windows(2).filter(|pair| {
        pair[0].bytes().all(|byte| byte.is_ascii_lowercase())
            && pair[1].len() == 4
            && pair[1].bytes().all(|byte| byte.is_ascii_digit())
    });
    pairs.map(|pair| pair.join("-")).take(MOST_WORDS).collect()
}

fn is_word(room: &Room, word: &str, wanted: Word) -> bool {
    room.digests[wanted as usize] == Room::digest(&room.salt, word)
}

/// What the learner has written.
fn answer<'a>(scene: &Scene<'a>) -> Option<&'a Reading<String>> {
    match scene.seen(&ask(scene)?)? {
        Observation::Answer { text } => Some(text),
        _ => None,
    }
}

fn any_word(scene: &Scene, wanted: impl Fn(&Room, &str) -> bool) -> bool {
    let (Some(room), Some(text)) = (room(scene), answer(scene)) else { return false };
    words_in(text).iter().any(|word| wanted(room, word))
}

fn read_outside(scene: &Scene) -> bool {
    any_word(scene, |room, word| room.decoy == Room::digest(&room.salt, word))
}

fn earlier_room(scene: &Scene) -> bool {
    any_word(scene, |room, word| {
        room.earlier
            .iter()
            .any(|earlier| earlier.digests.contains(&Room::digest(&earlier.salt, word)))
    })
}

fn asked_the_host(scene: &Scene) -> bool {
    let Some(text) = answer(scene).and_then(Reading::known) else { return false };
    let host = &scene.snapshot().machine.hostname;
    let is_part = |c: char| c.is_alphanumeric();
    !host.is_empty()
        && text.match_indices(host.as_str()).any(|(at, found)| {
            !text[..at].ends_with(is_part) && !text[at + found.len()..].starts_with(is_part)
        })
}

/// Another word was brought out, or a process of theirs is in a namespace of the room; the one that
/// holds this word was not joined.
fn joined_without(scene: &Scene, missing: Word) -> bool {
    let others = || Word::ALL.into_iter().filter(|word| *word != missing);
    let Some(keeper) = scene.process() else { return false };
    any_word(scene, |room, word| others().any(|other| is_word(room, word, other)))
        || guests(scene, keeper).iter().any(|guest| {
            !are_together(guest, keeper, missing.kind())
                && Kind::ALL.into_iter().any(|kind| is_in_room(scene, guest, keeper, kind))
        })
}

fn made_not_joined(scene: &Scene) -> bool {
    let Some(keeper) = scene.process() else { return false };
    guests(scene, keeper).iter().any(|guest| {
        scene.snapshot().differs(guest, Kind::Net) == Some(true)
            && !are_together(guest, keeper, Kind::Net)
    })
}

/// The live processes that may be the learner's: of the keeper's user, and begun later.
fn guests<'a>(scene: &Scene<'a>, keeper: &Process) -> Vec<&'a Process> {
    let mut guests = scene.facts.theirs();
    guests.retain(|process| {
        process.is_alive() && process.id != keeper.id && process.user() == keeper.user()
    });
    guests
}

fn are_together(one: &Process, other: &Process, kind: Kind) -> bool {
    let (one, other) = (one.namespaces.get(kind).known(), other.namespaces.get(kind).known());
    one.is_some() && one == other
}

/// Whether a guest is in a namespace of the room that is not the machine's as well.
fn is_in_room(scene: &Scene, guest: &Process, keeper: &Process, kind: Kind) -> bool {
    are_together(guest, keeper, kind) && scene.snapshot().differs(guest, kind) == Some(true)
}
