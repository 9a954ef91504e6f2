//! Compresses the generated data files, so that the binary carries kilobytes instead of megabytes.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::{env, fs};

use flate2::Compression;
use flate2::write::DeflateEncoder;

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var("OUT_DIR")?;
    for name in ["types", "docs", "messages"] {
        let source = format!("data/{name}.txt");
        println!("cargo::rerun-if-changed={source}");
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&fs::read(source)?)?;
        fs::write(Path::new(&out).join(format!("{name}.deflate")), encoder.finish()?)?;
    }
    Ok(())
}
