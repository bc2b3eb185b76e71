//! Builds podlab again when a file joins or leaves the book or the labs, which it carries.

fn main() {
    for path in ["../book/book.toml", "../book/src", "../book/theme", "../labs/src/bin"] {
        println!("cargo::rerun-if-changed={path}");
    }
}
