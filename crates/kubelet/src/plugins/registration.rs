//! What a plugin says of itself, and whether the node takes it. The decisions are pure.

use csi::registration_v1::PluginInfo;

/// The type of plugins that are drivers of volumes.
pub const DRIVER: &str = "CSIPlugin";

/// A version of the Container Storage Interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u32>);

impl Version {
    /// `v1.2.3`, as loosely as upstream reads it: two or more numbers, whatever follows them aside.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let numbers: Option<Vec<u32>> = text[..end].split('.').map(|part| part.parse().ok()).collect();
        numbers.filter(|numbers| numbers.len() >= 2).map(Self)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

/// Whether a plugin is taken that says this of itself, beside the version of the driver of its name that is known
/// already; with the newest version that both sides speak.
///
/// # Errors
/// What the plugin is told.
pub fn judge(info: &PluginInfo, socket: &str, known: Option<&Version>) -> Result<Version, String> {
    if info.r#type != DRIVER {
        return Err(format!(
            "RegisterPlugin error -- no handler registered for plugin type: {} at socket {socket}",
            info.r#type
        ));
    }
    let refuse = |why: String| {
        let (name, endpoint) = (&info.name, &info.endpoint);
        Err(format!(
            "RegisterPlugin error -- plugin validation failed with err: validation failed for CSI Driver {name} \
             at endpoint {endpoint}: kubernetes.io/csi: {why}"
        ))
    };
    let name = &info.name;
    if !is_name(name) {
        return refuse(format!("ValidatePlugin for CSI driver {name:?} failed. It is not a driver's name"));
    }
    if info.supported_versions.is_empty() {
        return refuse(format!(
            "ValidatePlugin for CSI driver {name:?} failed. Plugin returned an empty list for supported versions"
        ));
    }
    let spoken = info.supported_versions.iter().filter_map(|text| Version::parse(text));
    let Some(version) = spoken.filter(|version| version.0.first() == Some(&1)).max() else {
        return refuse(format!(
            "ValidatePlugin for CSI driver {name:?} failed. None of the versions specified {:?} are supported",
            info.supported_versions
        ));
    };
    match known {
        Some(known) if *known >= version => refuse(format!(
            "ValidatePlugin for CSI driver {name:?} failed. Another driver with the same name is already registered \
             with a higher supported version: \"{known}\""
        )),
        _ => Ok(version),
    }
}

/// Whether a driver of devices may have this name.
///
/// # Errors
/// What the plugin is told.
pub fn check_name(name: &str) -> Result<(), String> {
    if is_name(name) {
        return Ok(());
    }
    Err(format!("RegisterPlugin error -- plugin validation failed with err: {name:?} is not a driver's name"))
}

/// A driver's name becomes a folder's, among others: at most 63 characters of a DNS name (upstream
/// `ValidateCSIDriverName`).
fn is_name(name: &str) -> bool {
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    (1..=63).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
        && is_edge(name.chars().next())
        && is_edge(name.chars().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kind: &str, name: &str, versions: &[&str]) -> PluginInfo {
        PluginInfo {
            r#type: kind.into(),
            name: name.into(),
            endpoint: "/e".into(),
            supported_versions: versions.iter().map(|v| (*v).to_owned()).collect(),
        }
    }

    #[test]
    fn drivers_of_the_first_version_are_taken() {
        let version = judge(&info(DRIVER, "a.b", &["0.3.0", "v1.0.0", "1.10.1", "2.0.0"]), "/s", None);
        assert_eq!(version.map(|v| v.to_string()), Ok("1.10.1".to_owned()));
        for (info, why) in [
            (
                info("DevicePlugin", "a", &["1.0.0"]),
                "no handler registered for plugin type: DevicePlugin at socket /s",
            ),
            (info(DRIVER, "a", &[]), "Plugin returned an empty list"),
            (
                info(DRIVER, "a", &["0.3.0", "x"]),
                "None of the versions specified [\"0.3.0\", \"x\"] are supported",
            ),
            (info(DRIVER, "../a", &["1.0.0"]), "It is not a driver's name"),
        ] {
            let refused = judge(&info, "/s", None).expect_err("refused");
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn a_driver_gives_way_to_a_newer_one_only() {
        let known = Version::parse("1.0.0").expect("a version");
        assert!(judge(&info(DRIVER, "a", &["1.0.1"]), "/s", Some(&known)).is_ok());
        let refused = judge(&info(DRIVER, "a", &["1.0.0"]), "/s", Some(&known)).expect_err("refused");
        assert!(
            refused.ends_with("already registered with a higher supported version: \"1.0.0\""),
            "{refused}"
        );
    }
}
