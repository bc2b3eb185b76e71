//! `podlab::book` as a browser meets it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podlab::book::{Options, Server};
use rstest::rstest;
use scraper::{Html, Selector};

use crate::needs;
use crate::sources::built;
use crate::support::need::Need;

/// A server that all these tests ask, and that ends with them.
fn address() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let server = Server::bind(Options { port: Some(0) }).expect("a free port");
        let address = server.address();
        std::thread::spawn(move || server.run(built().clone()));
        address
    })
}

/// The status, the head and the body of the answer to `METHOD PATH`.
fn ask(request: &str, host: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address()).expect("connect");
    write!(stream, "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("ask");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let head = answer.windows(4).position(|part| part == b"\r\n\r\n").expect("a head") + 4;
    let body = answer.split_off(head);
    let head = String::from_utf8(answer).expect("a head is text").to_lowercase();
    (head[9..12].parse().expect("a status"), head, body)
}

#[test]
fn the_server_listens_on_loopback_only() {
    assert!(address().ip().is_loopback());
}

#[rstest]
#[case::the_first_page("/", "index.html", "text/html")]
#[case::a_chapter("/introduction.html", "introduction.html", "text/html")]
#[case::with_a_query("/introduction.html?search=kernel", "introduction.html", "text/html")]
fn a_page_comes_as_it_was_built(#[case] path: &str, #[case] page: &str, #[case] kind: &str) {
    let (status, head, body) = ask(&format!("GET {path}"), "localhost");
    assert_eq!(status, 200);
    assert!(head.contains(&format!("content-type: {kind}")), "{head}");
    assert_eq!(Some(&body[..]), built().get(page));
}

#[test]
fn the_search_index_knows_the_words_of_the_book() {
    let (index, _) =
        built().iter().find(|(path, _)| path.starts_with("searchindex")).expect("an index");
    let (status, head, body) = ask(&format!("GET /{index}"), "localhost");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/javascript"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("How to use this course"));
}

#[test]
fn a_page_that_is_not_there_is_not_found() {
    let (status, head, body) = ask("GET /nowhere.html", "localhost");
    assert_eq!(status, 404);
    assert!(head.contains("content-type: text/html"), "{head}");
    assert_eq!(Some(&body[..]), built().get("404.html"));
}

#[rstest]
fn nothing_but_the_book_can_be_read(
    #[values(
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/./index.html",
        "/introduction.html/../../book.toml",
        "/book.toml",
        "/src/introduction.md"
    )]
    path: &str,
) {
    assert_eq!(ask(&format!("GET {path}"), "localhost").0, 404);
}

#[rstest]
fn a_page_elsewhere_cannot_read_the_book_under_its_own_name(
    #[values("example.org", "example.org:8026", "127.0.0.1.example.org")] host: &str,
) {
    let (status, _, body) = ask("GET /", host);
    assert_eq!(status, 421);
    assert_ne!(Some(&body[..]), built().get("index.html"));
}

#[test]
fn a_head_request_gets_the_head_alone() {
    let (status, head, body) = ask("HEAD /", "localhost");
    let length = built().get("index.html").expect("a first page").len();
    assert_eq!((status, body.len()), (200, 0));
    assert!(head.contains(&format!("content-length: {length}")), "{head}");
}

#[rstest]
fn nothing_can_be_changed(
    #[values("POST /", "PUT /index.html", "DELETE /index.html")] request: &str,
) {
    assert_eq!(ask(request, "localhost").0, 405);
}

#[test]
fn a_port_that_is_taken_is_an_error_with_the_address() {
    let port = Some(address().port());
    let error = Server::bind(Options { port }).expect_err("the port is taken").to_string();
    assert_eq!(error.lines().next(), Some(&*format!("{}: address already in use", address())));
}

#[test]
fn the_book_is_written_to_a_new_folder_and_to_no_other() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let folder = place.path().join("html");
    built().write_to(&folder).expect("write the book");
    assert_eq!(fs::read(folder.join("index.html")).ok().as_deref(), built().get("index.html"));
    let error = built().write_to(&folder).expect_err("there is a book").to_string();
    assert_eq!(error.lines().next(), Some(&*format!("{}: not empty", folder.display())));
}

/// `podlab book` with `folder` for temporary files.
fn podlab_book(folder: &Path) -> Command {
    let mut book = Command::new(env!("CARGO_BIN_EXE_podlab"));
    book.args(["book", "--port", "0"]).env("TMPDIR", folder).stdout(Stdio::piped());
    book
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("the folder").next().is_none()
}

#[test]
fn the_command_says_where_the_book_is_and_keeps_no_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut book = podlab_book(folder.path()).spawn().expect("podlab");
    let mut line = String::new();
    BufReader::new(book.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let address = line.trim_end().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
    let connected = address.map(TcpStream::connect);
    let empty = is_empty(folder.path());
    book.kill().and_then(|()| book.wait()).expect("end it");
    assert!(matches!(connected, Some(Ok(_))), "{line}");
    assert!(empty, "it serves from files");
}

#[test]
fn a_signal_while_the_book_is_built_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let events = Inotify::init(InitFlags::empty()).expect("inotify");
    events.add_watch(folder.path(), AddWatchFlags::IN_CREATE).expect("watch the folder");
    let mut book = podlab_book(folder.path()).spawn().expect("podlab");
    events.read_events().expect("it makes its folder");
    kill(Pid::from_raw(book.id() as i32), Signal::SIGTERM).expect("signal it");
    let status = book.wait().expect("podlab");
    assert_eq!(status.signal(), Some(Signal::SIGTERM as i32), "{status}");
    assert!(is_empty(folder.path()), "it left its folder");
}

#[test]
fn a_browser_finds_words_and_leads_to_where_they_are() {
    needs!(Need::Program("chromium"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut browser = Command::new("timeout");
    browser.args(["60", "chromium", "--headless", "--no-sandbox", "--disable-gpu"]);
    browser.args([
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
    ]);
    browser.arg("--disable-sync").arg(format!("--user-data-dir={}", folder.path().display()));
    browser.args(["--virtual-time-budget=10000", "--dump-dom"]);
    browser.arg(format!("http://{}/introduction.html?search=verdict", address()));
    let output = browser.output().expect("chromium");
    let page = Html::parse_document(&String::from_utf8_lossy(&output.stdout));
    let results = Selector::parse("#mdbook-searchresults a").expect("a selector");
    let mut found = page.select(&results).filter_map(|link| link.attr("href"));
    assert!(found.any(|to| to.ends_with("#verdicts")), "{}", page.html());
}
