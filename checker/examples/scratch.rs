//! scratch
fn main() {
    podlab::book::serve(podlab::book::Options { port: Some(8555) }, &mut std::io::stdout())
        .unwrap();
}
