//! `--raw` of `create`, `replace` and `delete`: a body sent to a path as it is.

use http::Method;

use crate::builder;
use crate::client::Request;
use crate::failure::{Failure, quoted};
use crate::output::bytes;
use crate::session::Session;

/// Whether `--raw` is given, and nothing that contradicts it.
///
/// # Errors
/// When something does.
pub fn is_asked(session: &Session) -> Result<bool, Failure> {
    let flags = &session.flags;
    if flags.text("raw").is_empty() {
        return Ok(false);
    }
    let no = |why: &str| Err(Failure::message(why));
    let is_deletion = session.command == "delete";
    if session.command == "create" && flags.bool("edit") {
        return no("--raw and --edit are mutually exclusive");
    }
    if is_deletion && !session.arguments().is_empty() {
        return no("--raw can not be used with arguments");
    }
    let files = flags.list("filename");
    if !is_deletion && files.is_empty() {
        return no("must specify one of -f and -k");
    }
    if files.len() > 1 || files.iter().any(|file| file.starts_with("http")) {
        return no("--raw can only use a single local file or stdin");
    }
    if flags.bool("recursive") {
        return no("--raw and --recursive are mutually exclusive");
    }
    if !flags.text("selector").is_empty() {
        return no("--raw and --selector (-l) are mutually exclusive");
    }
    if !flags.text("output").is_empty() {
        return no("--raw and --output are mutually exclusive");
    }
    let path = flags.text("raw");
    if path.starts_with(':') {
        let why = format!("--raw must be a valid URL path: parse {}: missing protocol scheme", quoted(path));
        return Err(Failure::message(why));
    }
    if !path.starts_with('/') && !path.contains("://") {
        let why = format!("--raw must be a valid URL path: parse {}: invalid URI for request", quoted(path));
        return Err(Failure::message(why));
    }
    Ok(true)
}

/// Sends the file's bytes, and prints the answer as it is.
///
/// # Errors
/// When the file cannot be read, or the server says no.
pub fn run(session: &Session, method: Method) -> Result<(), Failure> {
    let mut request = Request::new(method, session.flags.text("raw"));
    request.accept = "*/*";
    if let Some(file) = session.flags.list("filename").first() {
        let read = builder::read(session, file)?;
        let [(_, text)] = read.as_slice() else {
            return Err(Failure::message("--raw can only use a single local file or stdin"));
        };
        request.body = text.clone().into_bytes();
    }
    let mut stream = session.client()?.stream(&request)?;
    while let Some(chunk) = stream.chunk()? {
        bytes(&chunk)?;
    }
    Ok(())
}
