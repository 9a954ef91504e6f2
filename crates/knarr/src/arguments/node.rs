//! The settings of this machine's own node, under upstream's names: as flags, and as keys below `node` in the settings file,
//! where they are called as in a KubeletConfiguration.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use http::{HeaderName, HeaderValue, Uri};
use kubelet::pressure::thresholds::{TRANSITION, Thresholds, USUAL, Written};
use kubelet::server::{Configuration, SystemLogs};
use kubelet::static_pods::{StaticPodsConfig, UrlConfig};
use serde::Deserialize;

use super::api_server::Span;

/// How often the URL is asked, as upstream.
const ASK_EVERY: Duration = Duration::from_secs(20);

/// What the command line says of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Node")]
pub struct NodeFlags {
    /// Run the pods of the manifests in this folder, or of this manifest, whatever the API says
    /// [default: /etc/knarr/manifests/NAME; empty: none]
    #[arg(long, value_name = "PATH", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub pod_manifest_path: Option<PathBuf>,
    /// Run the pods that this URL names: one, or a list of them
    #[arg(long, value_name = "URL")]
    pub manifest_url: Option<String>,
    /// What the URL is asked with: headers, as "a:hello,b:again,c:world"
    #[arg(long, value_name = "NAME:VALUE,...", value_delimiter = ',')]
    pub manifest_url_header: Vec<String>,
    /// Look at the manifests at this interval, too [default: only when the kernel tells that they have changed]
    #[arg(long, value_name = "DURATION")]
    pub file_check_frequency: Option<Span>,
    /// How often the URL is asked [default: 20s]
    #[arg(long, value_name = "DURATION")]
    pub http_check_frequency: Option<Span>,
    /// When pods are ended at once for the node's sake, as "memory.available<1Gi,nodefs.available<5%"
    /// [default: memory.available<100Mi,nodefs.available<10% and less than 1Gi,nodefs.inodesFree<5%,pid.available<2%; empty: never]
    #[arg(long, value_name = "SIGNAL<AMOUNT,...", value_delimiter = ',')]
    pub eviction_hard: Vec<String>,
    /// When pods are ended that has lasted a while, as "memory.available<1.5Gi"
    #[arg(long, value_name = "SIGNAL<AMOUNT,...", value_delimiter = ',')]
    pub eviction_soft: Vec<String>,
    /// How long that has to last, as "memory.available=1m30s"
    #[arg(long, value_name = "SIGNAL=DURATION,...", value_delimiter = ',')]
    pub eviction_soft_grace_period: Vec<String>,
    /// How much is won back at least once pods are ended, as "nodefs.available=500Mi"
    #[arg(long, value_name = "SIGNAL=AMOUNT,...", value_delimiter = ',')]
    pub eviction_minimum_reclaim: Vec<String>,
    /// The longest time that pods have to end when it has lasted a while, in seconds [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub eviction_max_pod_grace_period: Option<u32>,
    /// How long the node says that it is under pressure after the cause has gone [default: 5m]
    #[arg(long, value_name = "DURATION")]
    pub eviction_pressure_transition_period: Option<Span>,
    /// Show the files below /var/log of the machine at /logs/ of the node's API [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub enable_system_log_handler: Option<bool>,
    /// Answer queries for logs there, too: of services and of single files [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub enable_system_log_query: Option<bool>,
}

/// What the settings file says of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeSettings {
    static_pod_path: Option<PathBuf>,
    #[serde(rename = "staticPodURL")]
    static_pod_url: Option<String>,
    #[serde(rename = "staticPodURLHeader")]
    static_pod_url_header: BTreeMap<String, Vec<String>>,
    file_check_frequency: Option<Span>,
    http_check_frequency: Option<Span>,
    eviction_hard: Option<BTreeMap<String, String>>,
    eviction_soft: BTreeMap<String, String>,
    eviction_soft_grace_period: BTreeMap<String, Span>,
    eviction_minimum_reclaim: BTreeMap<String, String>,
    eviction_max_pod_grace_period: Option<u32>,
    eviction_pressure_transition_period: Option<Span>,
    enable_system_log_handler: Option<bool>,
    enable_system_log_query: Option<bool>,
}

impl NodeFlags {
    /// The flags that say the same to another process, with whole paths.
    ///
    /// # Errors
    /// When a path cannot be made whole.
    pub fn arguments(&self) -> Result<Vec<OsString>> {
        let mut arguments = Vec::new();
        let mut flag = |name: &str, value: OsString| {
            let mut argument = OsString::from(format!("--{name}="));
            argument.push(value);
            arguments.push(argument);
        };
        if let Some(path) = &self.pod_manifest_path {
            let none = path.as_os_str().is_empty();
            flag("pod-manifest-path", if none { OsString::new() } else { whole(path)?.into() });
        }
        if let Some(url) = &self.manifest_url {
            flag("manifest-url", url.into());
        }
        for header in &self.manifest_url_header {
            flag("manifest-url-header", header.into());
        }
        let lists = [
            ("eviction-hard", &self.eviction_hard),
            ("eviction-soft", &self.eviction_soft),
            ("eviction-soft-grace-period", &self.eviction_soft_grace_period),
            ("eviction-minimum-reclaim", &self.eviction_minimum_reclaim),
        ];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            flag(name, list.join(",").into());
        }
        if let Some(seconds) = self.eviction_max_pod_grace_period {
            flag("eviction-max-pod-grace-period", seconds.to_string().into());
        }
        let switches = [
            ("enable-system-log-handler", self.enable_system_log_handler),
            ("enable-system-log-query", self.enable_system_log_query),
        ];
        for (name, switch) in switches {
            if let Some(is_on) = switch {
                flag(name, is_on.to_string().into());
            }
        }
        let spans = [
            ("eviction-pressure-transition-period", self.eviction_pressure_transition_period),
            ("file-check-frequency", self.file_check_frequency),
            ("http-check-frequency", self.http_check_frequency),
        ];
        for (name, span) in spans {
            if let Some(span) = span {
                flag(name, format!("{}s", span.0.as_secs_f64()).into());
            }
        }
        Ok(arguments)
    }

    /// These, and where they say nothing, what the file says.
    ///
    /// # Errors
    /// When a header has no value.
    pub fn over(&self, file: &NodeSettings) -> Result<NodeSettings> {
        let mut all = file.clone();
        let mut headers = BTreeMap::<String, Vec<String>>::new();
        for header in &self.manifest_url_header {
            let Some((name, value)) = header.split_once(':') else {
                // It may be a secret.
                bail!("--manifest-url-header: what is given is not of the form NAME:VALUE");
            };
            headers.entry(name.trim().to_owned()).or_default().push(value.trim().to_owned());
        }
        if !headers.is_empty() {
            all.static_pod_url_header = headers;
        }
        all.static_pod_path = self.pod_manifest_path.clone().or(all.static_pod_path);
        all.static_pod_url = self.manifest_url.clone().or(all.static_pod_url);
        all.file_check_frequency = self.file_check_frequency.or(all.file_check_frequency);
        all.http_check_frequency = self.http_check_frequency.or(all.http_check_frequency);
        if !self.eviction_hard.is_empty() {
            all.eviction_hard = Some(pairs("eviction-hard", &self.eviction_hard, '<')?);
        }
        let maps = [
            ("eviction-soft", &self.eviction_soft, '<', &mut all.eviction_soft),
            (
                "eviction-minimum-reclaim",
                &self.eviction_minimum_reclaim,
                '=',
                &mut all.eviction_minimum_reclaim,
            ),
        ];
        for (name, given, separator, map) in maps {
            if !given.is_empty() {
                *map = pairs(name, given, separator)?;
            }
        }
        if !self.eviction_soft_grace_period.is_empty() {
            let name = "eviction-soft-grace-period";
            let span = |(signal, text): (String, String)| match text.parse() {
                Ok(span) => Ok((signal, span)),
                Err(why) => bail!("--{name}: {why}"),
            };
            let given = pairs(name, &self.eviction_soft_grace_period, '=')?;
            all.eviction_soft_grace_period = given.into_iter().map(span).collect::<Result<_>>()?;
        }
        all.eviction_max_pod_grace_period =
            self.eviction_max_pod_grace_period.or(all.eviction_max_pod_grace_period);
        all.eviction_pressure_transition_period =
            self.eviction_pressure_transition_period.or(all.eviction_pressure_transition_period);
        all.enable_system_log_handler = self.enable_system_log_handler.or(all.enable_system_log_handler);
        all.enable_system_log_query = self.enable_system_log_query.or(all.enable_system_log_query);
        Ok(all)
    }
}

impl NodeSettings {
    /// What of the machine's logs the node's API shows.
    pub fn system_logs(&self) -> SystemLogs {
        SystemLogs {
            folder: PathBuf::from("/var/log"),
            files: self.enable_system_log_handler.unwrap_or(true),
            queries: self.enable_system_log_query.unwrap_or(false),
        }
    }

    /// The settings that are as they were given, in the node's own words about itself.
    pub fn show_in(&self, shown: &mut Configuration) {
        let logs = self.system_logs();
        (shown.enable_system_log_handler, shown.enable_system_log_query) = (logs.files, logs.queries);
        shown.static_pod_url = self.static_pod_url.clone().unwrap_or_default();
        let hard = self.eviction_hard.clone();
        shown.eviction_hard = hard
            .unwrap_or_else(|| USUAL.map(|(signal, amount)| (signal.to_owned(), amount.to_owned())).into());
        shown.eviction_soft.clone_from(&self.eviction_soft);
        let grace = self.eviction_soft_grace_period.iter();
        shown.eviction_soft_grace_period =
            grace.map(|(signal, span)| (signal.clone(), written(span.0))).collect();
        shown.eviction_minimum_reclaim.clone_from(&self.eviction_minimum_reclaim);
        shown.eviction_max_pod_grace_period = self.eviction_max_pod_grace_period.unwrap_or(0);
        let transition = self.eviction_pressure_transition_period.map_or(TRANSITION, |span| span.0);
        shown.eviction_pressure_transition_period = written(transition);
    }

    /// Whether what is only used later can be used.
    ///
    /// # Errors
    /// Names the setting that cannot.
    pub fn check(&self) -> Result<()> {
        if let Some(url) = self.static_pod_url.as_ref().filter(|url| !url.is_empty()) {
            let parsed = url.parse::<Uri>().context("staticPodURL")?;
            let is_usable = matches!(parsed.scheme_str(), Some("http" | "https"))
                && parsed.host().is_some_and(|host| !host.is_empty());
            ensure!(is_usable, "staticPodURL: it is no http or https URL of a host");
        }
        for (name, values) in &self.static_pod_url_header {
            HeaderName::from_bytes(name.as_bytes())
                .with_context(|| format!("staticPodURLHeader: {name:?} is no name of a header"))?;
            for value in values {
                HeaderValue::from_str(value).with_context(|| {
                    format!("staticPodURLHeader: what {name:?} has is no value of a header")
                })?;
            }
        }
        for (name, span) in [
            ("fileCheckFrequency", self.file_check_frequency),
            ("httpCheckFrequency", self.http_check_frequency),
        ] {
            let too_short = span.is_some_and(|span| !span.0.is_zero() && span.0 < Duration::from_secs(1));
            ensure!(!too_short, "{name}: less than a second is too often");
        }
        self.thresholds()?;
        Ok(())
    }

    /// When pods are ended for the node's sake.
    ///
    /// # Errors
    /// Names the setting that cannot be used.
    pub fn thresholds(&self) -> Result<Thresholds> {
        let grace = self.eviction_soft_grace_period.iter();
        let written = Written {
            hard: self.eviction_hard.clone(),
            soft: self.eviction_soft.clone(),
            soft_grace: grace.map(|(signal, span)| (signal.clone(), span.0)).collect(),
            reclaim: self.eviction_minimum_reclaim.clone(),
            max_pod_grace_s: i64::from(self.eviction_max_pod_grace_period.unwrap_or(0)),
            transition: self.eviction_pressure_transition_period.map(|span| span.0),
        };
        Thresholds::parse(&written).map_err(|why| anyhow!(why))
    }

    /// Where static pods come from; `usual` is the folder where no other is named.
    ///
    /// # Errors
    /// When the path cannot be made whole.
    pub fn static_pods(&self, usual: PathBuf) -> Result<StaticPodsConfig> {
        let path = match &self.static_pod_path {
            // As upstream, an empty one asks for none.
            Some(path) if path.as_os_str().is_empty() => None,
            Some(path) => Some(whole(path)?),
            None => Some(usual),
        };
        let some = |span: Option<Span>| span.map(|span| span.0).filter(|span| !span.is_zero());
        let headers = self.static_pod_url_header.iter();
        let headers =
            headers.flat_map(|(name, values)| values.iter().map(move |value| (name.clone(), value.clone())));
        let url = self.static_pod_url.clone().filter(|url| !url.is_empty()).map(|url| UrlConfig {
            url,
            headers: headers.collect(),
            ask_every: some(self.http_check_frequency).unwrap_or(ASK_EVERY),
        });
        Ok(StaticPodsConfig { path, look_every: some(self.file_check_frequency), url })
    }
}

/// A time as Go writes it: `1h0m0s`, `5m0s`, `7s`.
fn written(time: Duration) -> String {
    let (seconds, rest) = (time.as_secs(), time.subsec_millis());
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let seconds = match rest {
        0 => format!("{seconds}s"),
        _ => format!("{seconds}.{}s", format!("{rest:03}").trim_end_matches('0')),
    };
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, _) => format!("{minutes}m{seconds}"),
        _ => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// What a flag says of each signal.
fn pairs(flag: &str, given: &[String], separator: char) -> Result<BTreeMap<String, String>> {
    let pair = |text: &String| match text.split_once(separator) {
        Some((signal, amount)) => Ok((signal.trim().to_owned(), amount.trim().to_owned())),
        None => bail!("--{flag}: {text:?} is not of the form SIGNAL{separator}AMOUNT"),
    };
    // An empty text says that there are none.
    let given = if given == [""] { &[] } else { given };
    given.iter().map(pair).collect()
}

/// The path from the root.
fn whole(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("finding {}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        node: NodeFlags,
    }

    fn flags(line: &[&str]) -> NodeFlags {
        let line = std::iter::once("knarr").chain(line.iter().copied());
        Line::try_parse_from(line).expect("flags").node
    }

    fn file(text: &str) -> NodeSettings {
        serde_saphyr::from_str(text).expect("settings")
    }

    #[test]
    fn static_pods_come_from_where_flags_and_file_say() {
        let usual = || PathBuf::from("/etc/knarr/manifests/x");
        let of = |settings: &NodeSettings| settings.static_pods(usual()).expect("settings");
        assert_eq!(of(&NodeSettings::default()).path, Some(usual()));
        assert_eq!(of(&file("staticPodPath: ''")).path, None, "none at all");
        let text = "{staticPodPath: /etc/kubernetes/manifests, staticPodURL: http://h/p, \
                    staticPodURLHeader: {A: [x, y]}, fileCheckFrequency: 20s, httpCheckFrequency: 1m}";
        let all = of(&file(text));
        assert_eq!(all.path.as_deref(), Some(Path::new("/etc/kubernetes/manifests")));
        assert_eq!(all.look_every, Some(Duration::from_secs(20)));
        let url = all.url.expect("a URL");
        assert_eq!((url.headers.len(), url.ask_every), (2, Duration::from_mins(1)));
        let none = flags(&["--pod-manifest-path="]);
        assert_eq!(of(&none.over(&file(text)).expect("put together")).path, None, "a flag can say so too");
        assert_eq!(none.arguments().expect("flags"), ["--pod-manifest-path="]);
        let given = flags(&["--pod-manifest-path=/m", "--manifest-url-header=B:z,C:1:2"]);
        let all = of(&given.over(&file(text)).expect("put together"));
        let headers = all.url.expect("a URL").headers;
        assert_eq!(all.path.as_deref(), Some(Path::new("/m")));
        assert_eq!(headers, [("B".to_owned(), "z".to_owned()), ("C".to_owned(), "1:2".to_owned())]);
    }

    #[test]
    fn flags_are_handed_on() {
        let given = flags(&[
            "--pod-manifest-path=/m",
            "--manifest-url=http://h/p",
            "--manifest-url-header=a:b,c:d",
            "--http-check-frequency=1m30s",
        ]);
        let handed = given.arguments().expect("flags");
        let handed: Vec<_> = handed.iter().map(|flag| flag.to_str().expect("UTF-8")).collect();
        assert_eq!(flags(&handed), given);
        let never = flags(&["--eviction-hard="]);
        assert_eq!(never.arguments().expect("flags"), ["--eviction-hard="]);
        let hard = never.over(&NodeSettings::default()).expect("put together").eviction_hard;
        assert_eq!(hard, Some(BTreeMap::new()));
    }

    #[test]
    fn pods_are_ended_when_flags_and_file_say() {
        let given = flags(&[
            "--eviction-hard=memory.available<1Gi,nodefs.available<5%",
            "--eviction-soft=pid.available<100",
            "--eviction-soft-grace-period=pid.available=1m30s",
            "--eviction-minimum-reclaim=nodefs.available=500Mi",
            "--eviction-max-pod-grace-period=7",
            "--eviction-pressure-transition-period=0",
        ]);
        let file = file("{evictionHard: {pid.available: 9%}, evictionMaxPodGracePeriod: 30}");
        assert_eq!(file.thresholds().expect("thresholds").all.len(), 1);
        let all = given.over(&file).expect("put together").thresholds().expect("thresholds");
        assert_eq!((all.all.len(), all.max_pod_grace_s, all.transition), (3, 7, Duration::ZERO));
        assert_eq!(all.all[2].grace, Some(Duration::from_secs(90)));
        let handed = given.arguments().expect("flags");
        let handed: Vec<_> = handed.iter().map(|flag| flag.to_str().expect("UTF-8")).collect();
        assert_eq!(flags(&handed), given);
        assert!(flags(&["--eviction-hard=memory.available"]).over(&NodeSettings::default()).is_err());
    }

    #[test]
    fn the_machines_logs_are_shown_as_the_settings_say() {
        let of = |settings: &NodeSettings| (settings.system_logs().files, settings.system_logs().queries);
        assert_eq!(of(&NodeSettings::default()), (true, false));
        let file = file("{enableSystemLogHandler: false, enableSystemLogQuery: true}");
        assert_eq!(of(&file), (false, true));
        let given = flags(&["--enable-system-log-handler", "--enable-system-log-query=false"]);
        assert_eq!(of(&given.over(&file).expect("put together")), (true, false));
        let handed = given.arguments().expect("flags");
        let handed: Vec<_> = handed.iter().map(|flag| flag.to_str().expect("UTF-8")).collect();
        assert_eq!(flags(&handed), given);
    }

    #[test]
    fn the_node_tells_its_settings_in_upstreams_words() {
        let mut shown = Configuration::default();
        NodeSettings::default().show_in(&mut shown);
        assert_eq!(shown.eviction_hard["memory.available"], "100Mi");
        assert_eq!(shown.eviction_pressure_transition_period, "5m0s");
        let text = "{evictionHard: {pid.available: 9%}, evictionSoft: {memory.available: 1Gi}, \
                    evictionSoftGracePeriod: {memory.available: 1m30s}, evictionPressureTransitionPeriod: 7s}";
        file(text).show_in(&mut shown);
        assert_eq!(shown.eviction_hard, BTreeMap::from([("pid.available".to_owned(), "9%".to_owned())]));
        assert_eq!(shown.eviction_soft_grace_period["memory.available"], "1m30s");
        assert_eq!(shown.eviction_pressure_transition_period, "7s");
        assert_eq!(written(Duration::from_millis(3_600_500)), "1h0m0.5s");
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let why = |text: &str| file(text).check().expect_err("refused").to_string();
        for url in ["ftp://x", "/p"] {
            let text = format!("staticPodURL: {url}");
            assert_eq!(why(&text), "staticPodURL: it is no http or https URL of a host");
        }
        let name = "staticPodURLHeader: \"a b\" is no name of a header";
        assert_eq!(why("{staticPodURLHeader: {'a b': [c]}}"), name);
        let value = "staticPodURLHeader: what \"a\" has is no value of a header";
        assert_eq!(why("{staticPodURLHeader: {a: [\"b\\nc\"]}}"), value);
        assert_eq!(why("httpCheckFrequency: 10ms"), "httpCheckFrequency: less than a second is too often");
        assert!(flags(&["--manifest-url-header=a"]).over(&NodeSettings::default()).is_err());
    }
}
