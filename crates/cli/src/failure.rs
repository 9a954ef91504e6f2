//! What ends a command, in the words that the stock kubectl has for it.

use serde_json::Value;

/// Why a command did not do what it was asked.
#[derive(Debug, Clone)]
pub enum Failure {
    /// Said behind `error: `.
    Message(String),
    /// Said as it is.
    Verbatim(String),
    /// The server's refusal, a `Status` object.
    Status(Box<Value>),
    /// No answer from a server.
    Unreachable(String),
    /// Several, each on a line of its own.
    Many(Vec<Failure>),
    /// Said as it is, with an exit code of its own.
    Code(u8, String),
    /// All has been said already.
    Exit(u8),
}

impl Failure {
    pub fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    /// Wrong arguments of a command (`get`, `config view`).
    pub fn usage(command: &str, text: &str) -> Self {
        Self::Verbatim(format!("error: {text}\nSee 'kubectl {command} -h' for help and examples"))
    }

    /// One failure of several; none where there are none.
    pub fn all(mut failures: Vec<Self>) -> Result<(), Self> {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            _ => Err(Self::Many(failures)),
        }
    }

    pub fn code(&self) -> u8 {
        match self {
            Self::Exit(code) | Self::Code(code, _) => *code,
            _ => 1,
        }
    }

    /// The server's reason (`NotFound`); empty where there is none.
    pub fn reason(&self) -> &str {
        match self {
            Self::Status(status) => status["reason"].as_str().unwrap_or_default(),
            _ => "",
        }
    }

    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Status(status) if status["code"] == 409)
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status(status) if status["code"] == 404)
    }

    /// What it says without any prefix, as a part of a longer text.
    pub fn plain(&self) -> String {
        match self {
            Self::Message(text) | Self::Verbatim(text) | Self::Unreachable(text) | Self::Code(_, text) => {
                text.clone()
            }
            Self::Status(status) => status["message"].as_str().unwrap_or_default().to_owned(),
            Self::Many(several) => several.iter().map(Self::plain).collect::<Vec<_>>().join("\n"),
            Self::Exit(_) => String::new(),
        }
    }

    /// What standard error gets.
    pub fn text(&self) -> String {
        match self {
            Self::Message(text) if text.starts_with("error: ") => text.clone(),
            Self::Message(text) => format!("error: {text}"),
            Self::Many(several) => several.iter().map(|one| one.within_several() + "\n").collect(),
            Self::Status(status) => of_status(status),
            other => other.plain(),
        }
    }

    fn within_several(&self) -> String {
        match self {
            Self::Message(text) => text.clone(),
            // Among several, what is invalid is said as any other refusal.
            Self::Status(status) => refusal(status),
            other => other.text(),
        }
    }
}

fn of_status(status: &Value) -> String {
    if status["reason"] != "Invalid" {
        return refusal(status);
    }
    let message = status["message"].as_str().unwrap_or_default();
    let details = &status["details"];
    if !details.is_object() {
        return format!("The request is invalid: {message}");
    }
    let text = |key: &str| details[key].as_str().unwrap_or_default();
    let causes: Vec<String> = details["causes"].as_array().into_iter().flatten().map(cause).collect();
    let subject = if !text("kind").is_empty() || !text("name").is_empty() {
        format!("The {} {} is invalid", text("kind"), quoted(text("name")))
    } else if !message.is_empty() && causes.is_empty() {
        format!("The request is invalid: {message}")
    } else {
        "The request is invalid".to_owned()
    };
    match causes.len() {
        0 => subject,
        // A line's end of the message's own is not the end of what is said.
        1 if causes[0].ends_with('\n') => format!("{subject}: {}\n", causes[0]),
        1 => format!("{subject}: {}", causes[0]),
        _ => {
            format!("{subject}: \n{}", causes.iter().map(|c| format!("* {c}")).collect::<Vec<_>>().join("\n"))
        }
    }
}

fn cause(cause: &Value) -> String {
    let text = |key: &str| cause[key].as_str().unwrap_or_default();
    format!("{}: {}", text("field"), text("message"))
}

fn refusal(status: &Value) -> String {
    let message = status["message"].as_str().unwrap_or_default();
    match status["reason"].as_str().unwrap_or_default() {
        "" => format!("Error from server: {message}"),
        "Unauthorized" => format!("error: You must be logged in to the server ({message})"),
        reason => format!("Error from server ({reason}): {message}"),
    }
}

/// A text as Go's `%q` writes it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_are_said_by_reason() {
        let status = |value: Value| Failure::Status(Box::new(value)).text();
        let not_found = json!({"reason": "NotFound", "code": 404, "message": "pods \"a\" not found"});
        assert_eq!(status(not_found), "Error from server (NotFound): pods \"a\" not found");
        assert_eq!(status(json!({"message": "odd"})), "Error from server: odd");
        let invalid = |causes: Value| json!({"reason": "Invalid", "details": {"kind": "Pod", "name": "a", "causes": causes}});
        let one = json!([{"field": "spec", "message": "Required value"}]);
        assert_eq!(status(invalid(one)), "The Pod \"a\" is invalid: spec: Required value");
        let two = json!([{"field": "a", "message": "x"}, {"field": "b", "message": "y"}]);
        assert_eq!(status(invalid(two)), "The Pod \"a\" is invalid: \n* a: x\n* b: y");
    }

    #[test]
    fn several_are_said_without_the_word_error() {
        let several = Failure::Many(vec![Failure::message("one"), Failure::message("two")]);
        assert_eq!(several.text(), "one\ntwo\n");
    }
}
