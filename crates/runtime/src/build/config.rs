//! The config of an image that is being made (OCI image-spec `config.md`), with what Docker adds. What nobody here
//! knows is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    pub architecture: String,
    pub os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    #[serde(deserialize_with = "or_default")]
    pub config: Settings,
    pub rootfs: Files,
    #[serde(deserialize_with = "or_default")]
    pub history: Vec<Past>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Settings {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Value>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Files {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub diff_ids: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    pub created_by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// Go writes `null` for what is empty.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Config {
    /// Gives every layer an entry of the history: other tools refuse an image where some have none.
    pub fn complete_history(&mut self, layers: usize) {
        let told = self.history.iter().filter(|past| !past.empty_layer).count();
        let missing = Past { comment: "not told by the base image".to_owned(), ..Past::default() };
        self.history.splice(0..0, vec![missing; layers.saturating_sub(told)]);
    }
}

impl Settings {
    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// Adds ports, as `EXPOSE` has them.
    pub fn expose(&mut self, text: &str) -> Result<(), String> {
        for port in text.split_whitespace() {
            let all = ports(port)?.into_iter().map(|port| (port, serde_json::json!({})));
            self.exposed_ports.extend(all);
        }
        Ok(())
    }

    pub fn set_variable(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        let same = |old: &&mut String| old.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        match self.env.iter_mut().find(same) {
            Some(old) => *old = pair,
            None => self.env.push(pair),
        }
    }
}

/// `80`, `80/udp`, `8000-8010/tcp` as a config has them: each port with its protocol.
fn ports(text: &str) -> Result<Vec<String>, String> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(format!("invalid proto: {protocol}"));
    }
    let invalid = || format!("invalid containerPort: {text}");
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |digits: &str| digits.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(invalid);
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(invalid());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_kept_and_nulls_are_read() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=1"],"Cmd":null,"ArgsEscaped":true},
            "rootfs":{"type":"layers","diff_ids":[]},"history":null}"#;
        let mut config: Config = serde_json::from_str(text).expect("a config");
        config.complete_history(2);
        assert_eq!(config.history.len(), 2);
        config.config.set_variable("A", "2");
        config.config.set_variable("AB", "3");
        assert_eq!((config.config.variable("A"), config.config.variable("B")), (Some("2"), None));
        let json = serde_json::to_value(&config).expect("json");
        assert_eq!(json["config"], serde_json::json!({"Env": ["A=2", "AB=3"], "ArgsEscaped": true}));
    }

    #[test]
    fn ports_have_protocols() {
        assert_eq!(ports("80"), Ok(vec!["80/tcp".to_owned()]));
        assert_eq!(ports("8000-8001/UDP"), Ok(vec!["8000/udp".to_owned(), "8001/udp".to_owned()]));
        for bad in ["", "0", "x", "70000", "2-1", "80/x", "1-"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
    }
}
