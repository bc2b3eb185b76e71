//! Pages over HTTP, to this machine only.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::{Options, Pages, USUAL_PORT};
use crate::error::Error;

/// The kinds of files that mdBook writes, by the end of their names.
const TYPES: [(&str, &str); 8] = [
    (".css", "text/css; charset=utf-8"),
    (".html", "text/html; charset=utf-8"),
    (".js", "text/javascript; charset=utf-8"),
    (".json", "application/json"),
    (".png", "image/png"),
    (".svg", "image/svg+xml"),
    (".txt", "text/plain; charset=utf-8"),
    (".woff2", "font/woff2"),
];

/// The kind of a file that says nothing about itself.
const OTHER: &str = "application/octet-stream";

/// A socket that listens on 127.0.0.1.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Takes the port. Nobody is answered before [`Server::run`].
    ///
    /// # Errors
    ///
    /// When the port is taken, or may not be used.
    pub fn bind(options: Options) -> Result<Server, Error> {
        match options.port {
            Some(port) => listen(port),
            None => listen(USUAL_PORT).or_else(|_| listen(0)),
        }
    }

    /// The address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests for `pages` until the process ends.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub fn run(self, pages: Pages) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let ended = runtime.and_then(|runtime| runtime.block_on(self.answer_all(pages)));
        ended.map_err(|error| Error::new(format!("cannot serve the book: {error}")))
    }

    async fn answer_all(self, pages: Pages) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        axum::serve(listener, Router::new().fallback(answer).with_state(Arc::new(pages))).await
    }
}

fn listen(port: u16) -> Result<Server, Error> {
    let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let bound = TcpListener::bind(address)
        .and_then(|listener| Ok(Server { address: listener.local_addr()?, listener }));
    bound.map_err(|error| {
        Error::file(Path::new(&address.to_string()), error)
            .hint("--port 0 takes any port that is free")
    })
}

async fn answer(
    State(pages): State<Arc<Pages>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if !names_this_machine(&headers) {
        return (StatusCode::MISDIRECTED_REQUEST, "this is the book of podlab, on loopback only\n")
            .into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [("allow", "GET, HEAD")]).into_response();
    }
    let path = uri.path().trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    match pages.get(path) {
        Some(data) => page(StatusCode::OK, path, data),
        None => page(StatusCode::NOT_FOUND, "404.html", pages.get("404.html").unwrap_or_default()),
    }
}

/// Whether the browser was told to go to this machine. A page elsewhere can have its own name point
/// to 127.0.0.1, and would read the answer; its name then stands here. The port may be another one,
/// forwarded out of a virtual machine.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    ["127.0.0.1", "localhost"].contains(&name)
}

fn page(status: StatusCode, path: &str, data: &[u8]) -> Response {
    let headers = [
        (CONTENT_TYPE, media_type(path)),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Another podlab may be at this address tomorrow.
        (CACHE_CONTROL, "no-cache"),
    ];
    (status, headers, data.to_vec()).into_response()
}

fn media_type(path: &str) -> &'static str {
    let found = TYPES.iter().find(|(end, _)| path.ends_with(end));
    found.map_or(OTHER, |(_, media_type)| media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HOST, value.parse().expect("a header"))])
    }

    #[test]
    fn a_request_to_this_machine_is_answered() {
        for name in ["127.0.0.1:8026", "localhost:8026", "localhost:9000", "localhost"] {
            assert!(names_this_machine(&host(name)), "{name}");
        }
    }

    #[test]
    fn a_request_under_a_foreign_name_is_not_answered() {
        let foreign =
            ["example.org", "example.org:8026", "localhost.example.org", "127.0.0.1.nip.io", ""];
        for name in foreign {
            assert!(!names_this_machine(&host(name)), "{name}");
        }
        assert!(!names_this_machine(&HeaderMap::new()), "no Host at all");
    }

    #[test]
    fn every_file_of_the_book_has_a_media_type() {
        let pages = Pages::build().expect("the book");
        // A note from mdBook to GitHub, which no page links to.
        let unknown = |path: &&str| *path != ".nojekyll" && media_type(path) == OTHER;
        assert_eq!(pages.iter().map(|(path, _)| path).filter(unknown).collect::<Vec<_>>(), [""; 0]);
    }
}
