//! The result of a session: a `Status` object on the error channel.
//!
//! Owns the wording (upstream `pkg/kubelet/cri/streaming/remotecommand`, `util/exec`). Never sends it.

use serde_json::json;

use super::backend::{BackendError, Exit};

/// The form of the result that the client expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A Status as JSON, success included (protocol versions 4 and up).
    Json,
    /// A text, and only for failures.
    Text,
}

/// The result of a command.
pub enum Outcome<'a> {
    Success,
    /// The command ended with a code other than 0; the command is part of the message.
    Exited(&'a [String], Exit),
    /// The command could not be run.
    Failed(String),
}

impl<'a> Outcome<'a> {
    /// Of a command run by exec.
    pub fn of_exec(command: &'a [String], result: Result<Exit, BackendError>) -> Self {
        match result {
            Ok(Exit { code: 0 }) => Self::Success,
            Ok(exit) => Self::Exited(command, exit),
            Err(e) => Self::Failed(format!("error executing command in container: {e}")),
        }
    }

    /// Of attaching to a container; the container's own exit code is not a failure.
    pub fn of_attach(result: Result<(), BackendError>) -> Self {
        match result {
            Ok(()) => Self::Success,
            Err(e) => Self::Failed(format!("error attaching to container: {e}")),
        }
    }

    /// The bytes to send; empty if the client expects none.
    pub fn bytes(&self, form: Form) -> Vec<u8> {
        let status = match (self, form) {
            (Self::Success, Form::Json) => json!({"metadata": {}, "status": "Success"}),
            (Self::Success, Form::Text) => return Vec::new(),
            (Self::Exited(command, Exit { code }), Form::Json) => json!({
                "metadata": {},
                "status": "Failure",
                "message": format!("command terminated with non-zero exit code: {}", exit_text(command, *code)),
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
            (Self::Exited(command, Exit { code }), Form::Text) => {
                return format!("error executing remote command: {}", exit_text(command, *code)).into_bytes();
            }
            (Self::Failed(reason), Form::Json) => json!({
                "metadata": {},
                "status": "Failure",
                "message": format!("Internal error occurred: {reason}"),
                "reason": "InternalError",
                "details": {"causes": [{"message": reason}]},
                "code": 500,
            }),
            (Self::Failed(reason), Form::Text) => return reason.clone().into_bytes(),
        };
        status.to_string().into_bytes()
    }
}

fn exit_text(command: &[String], code: i32) -> String {
    format!("error executing command [{}], exit code {code}", command.join(" "))
}
