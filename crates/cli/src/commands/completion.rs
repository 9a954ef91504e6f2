//! `completion`: scripts for shells that ask `kubectl __complete` for what may follow.

use super::Command;
use crate::failure::quoted;
use crate::output::out;

pub const COMMANDS: [Command; 1] = [Command {
    words: "completion",
    flags: &[],
    usage: "SHELL",
    about: "Output shell completion code for the specified shell (bash, zsh, fish, or powershell)",
    run: |session| {
        let [shell] = session.arguments() else {
            return Err(session.usage(match session.arguments().len() {
                0 => "Shell not specified.",
                _ => "Too many arguments. Expected only the shell type.",
            }));
        };
        let script = SCRIPTS.iter().find(|(name, _)| name == shell);
        match script {
            Some((_, script)) => out(script),
            None => Err(session.usage(&format!("Unsupported shell type {}.", quoted(shell)))),
        }
    },
}];

const SCRIPTS: [(&str, &str); 4] = [
    ("bash", include_str!("completion/kubectl.bash")),
    ("zsh", include_str!("completion/kubectl.zsh")),
    ("fish", include_str!("completion/kubectl.fish")),
    ("powershell", include_str!("completion/kubectl.ps1")),
];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command as Program;

    use super::*;

    /// What bash offers for a line, where the program answers with `answer` and is called with words in brackets.
    fn offered(line: &str, words: &str, answer: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("kubectl");
        let text = format!(
            "#!/bin/sh\nprintf '[%s]' \"$@\" >{}\nprintf '{answer}'\n",
            folder.path().join("called").display()
        );
        std::fs::write(&program, text).expect("a program");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
        let script = format!(
            "{}\nCOMP_LINE=$1 COMP_POINT=${{#1}} COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}}-1))\n__start_kubectl\necho \"${{COMPREPLY[*]}}\"",
            SCRIPTS[0].1
        );
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
        let run = Program::new("bash").args(["-c", &script, "bash", line]).env("PATH", path).output();
        let run = run.expect("bash is on every Debian machine");
        let called = std::fs::read_to_string(folder.path().join("called")).unwrap_or_default();
        format!("{called} {}", String::from_utf8_lossy(&run.stdout).trim())
    }

    #[test]
    fn bash_asks_with_the_words_of_the_line() {
        assert_eq!(
            offered("kubectl get po", "kubectl get po", "pods\\nnodes\\n:4\\n"),
            "[__completeNoDesc][get][po] pods"
        );
        assert_eq!(
            offered("kubectl -n=a get -o=j", "kubectl -n = a get -o = j", "json\\nyaml\\n:4\\n"),
            "[__completeNoDesc][-n=a][get][-o=j] json"
        );
        assert_eq!(
            offered("kubectl cp a:b", "kubectl cp a : b", "a:bc\\n:2\\n"),
            "[__completeNoDesc][cp][a:b] bc"
        );
        assert_eq!(
            offered("kubectl get ", "kubectl get ''", "pods\\n:0\\n"),
            "[__completeNoDesc][get][] pods"
        );
        assert_eq!(offered("kubectl get ", "kubectl get ''", "no answer"), "[__completeNoDesc][get][] ");
    }
}
