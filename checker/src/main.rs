//! The command `podlab`.

fn main() -> std::process::ExitCode {
    podlab::cli::main()
}
