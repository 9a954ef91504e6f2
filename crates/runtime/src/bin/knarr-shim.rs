//! A shim as a program of its own, where the size of the whole of knarr is unwanted (and for tests).

fn main() -> std::process::ExitCode {
    shim::main()
}
