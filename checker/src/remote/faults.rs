//! What went wrong, from what the OpenSSH client and the machine said, as one line and a hint.

use crate::error::Error;

use super::target::Target;

/// What systemd and pam_nologin(8) say of a machine that is not up yet, or goes down.
const NOT_YET: [&str; 2] = ["booting up", "Unprivileged users are not permitted"];

/// A part of a message of OpenSSH's, what it means, and what to do; the more telling first.
const LOGIN: [(&str, &str, Advice); 17] = [
    (NOT_YET[0], "it is still booting, and lets nobody in yet", Advice::Wait),
    (NOT_YET[1], "it lets nobody in now (nologin(5))", Advice::Wait),
    ("Connection refused", "nothing listens there: it is down, or has only begun to boot", START),
    ("banner exchange", "it takes connections and says nothing: it is half booted", Advice::Wait),
    ("kex_exchange_identification", "it hung up at once: it is half booted", Advice::Wait),
    ("HOST IDENTIFICATION HAS CHANGED", "it shows another host key than the known one", KEY),
    ("Host key verification failed", "its host key is not known", KEY),
    ("host key is known for", "its host key is not known", KEY),
    ("Permission denied", "it accepts none of your keys", Advice::Say(KEYS)),
    ("Too many authentication failures", "it accepts none of your first keys", Advice::Say(KEYS)),
    ("Could not resolve hostname", "no host has this name", Advice::Say("check the name")),
    ("No route to host", "no route leads there", START),
    ("Network is unreachable", "no route leads there", START),
    ("timed out", "it does not answer", START),
    ("Connection reset", "it hung up at once: it is half booted", Advice::Wait),
    ("Connection closed", "it hung up before the login was done", Advice::Wait),
    ("onfiguration option", "OpenSSH refuses its configuration", Advice::Say("try: ssh -G HOST")),
];

#[derive(Clone, Copy)]
enum Advice {
    Wait,
    Start,
    Key,
    Say(&'static str),
}

const START: Advice = Advice::Start;
const KEY: Advice = Advice::Key;
const KEYS: &str =
    "the key that it knows must be one that ssh offers: see IdentityFile in ssh_config(5)";

/// Why there was no login.
pub(super) fn of_login(said: &str, target: &Target) -> Error {
    let known = LOGIN.iter().find(|(part, ..)| said.contains(part));
    let Some((_, meaning, advice)) = known else {
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        let why = last.unwrap_or("OpenSSH could not log in and did not say why");
        return Error::new(format!("{target}: {}", why.trim())).hint(target.how_to_start());
    };
    Error::new(format!("{target}: {meaning}")).hint(match advice {
        Advice::Wait => "try again in a moment".to_owned(),
        Advice::Start => target.how_to_start(),
        Advice::Key => of_key(target),
        Advice::Say(hint) => (*hint).to_owned(),
    })
}

fn of_key(target: &Target) -> String {
    match target {
        Target::Ssh(_) => format!(
            "if it is the machine you mean, look at its key once: ssh {target}; a changed key may be another machine"
        ),
        _ => format!("something else listens on its port; {}", target.how_to_start()),
    }
}

/// Why nobody answered as root there, from the exit status of the session and what was said.
pub(super) fn of_session(code: Option<i32>, said: &str, target: &Target) -> Error {
    if NOT_YET.iter().any(|part| said.contains(part)) {
        return of_login(said, target);
    }
    let line = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    if code == Some(super::install::NO_SUDO) {
        return Error::new(format!("{target}: its user is not root, and there is no sudo"))
            .hint("log in as root, or install sudo there");
    }
    if let Some(why) = line.strip_prefix("sudo: ") {
        return Error::new(format!("{target}: sudo refuses: {why}"))
            .hint("the user needs sudo without a password: NOPASSWD in sudoers(5)");
    }
    if code == Some(255) || code.is_none() {
        return cut(target);
    }
    let status = code.map(|code| format!("exit status {code}")).unwrap_or_default();
    let why = if line.is_empty() { status } else { line.to_owned() };
    Error::new(format!("{target}: podlab could not be started there: {why}"))
        .hint("it needs Linux 4.6 or newer, /bin/sh, mktemp and sha256sum")
}

/// The connection ended in the middle.
pub(super) fn cut(target: &Target) -> Error {
    Error::new(format!("{target}: it hung up before it had answered"))
        .hint("nothing was judged; see whether it still runs, and try again")
}

/// Somebody else writes where only podlab should.
pub(super) fn garbage(line: &str, target: &Target) -> Error {
    let shown: String = line.chars().take(60).collect();
    Error::new(format!("{target}: its shell prints '{}' before podlab can answer", shown.trim()))
        .hint("what it runs at login must be silent without a terminal: see ~/.bashrc there")
}
