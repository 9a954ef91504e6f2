//! Content negotiation: which form of a response a client wants ([`Answer`]) and in which format a
//! request's body is written ([`BodyFormat`]). Pure.

use api::{Error, Reason};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Json,
    Yaml,
    /// Kubernetes' own, of objects in envelopes.
    Protobuf,
}

/// The media type of [`Format::Protobuf`].
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What the answer shows of the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// The objects themselves.
    #[default]
    Whole,
    /// A `meta.k8s.io` Table of the given version.
    Table(&'static str),
    /// `PartialObjectMetadata` or a list of them.
    Metadata(Partial),
}

/// Which form of metadata is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    /// `PartialObjectMetadataList`.
    pub list: bool,
    /// Of `meta.k8s.io`.
    pub version: &'static str,
}

/// The outcome of negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer {
    pub format: Format,
    pub shape: Shape,
}

impl Answer {
    /// Picks the first acceptable form, by quality and then by order. `in_protobuf`: whether whole objects of the
    /// kind have a message; their metadata has one in any case, and Tables have none.
    ///
    /// # Errors
    /// 406 when nothing acceptable is served.
    pub fn negotiate(headers: &HeaderMap, in_protobuf: bool) -> Result<Self, Error> {
        Self::pick(headers, |answer| answer.is_in_format(in_protobuf))
    }

    fn is_in_format(self, in_protobuf: bool) -> bool {
        match (self.format, self.shape) {
            (Format::Json | Format::Yaml, _) | (Format::Protobuf, Shape::Metadata(_)) => true,
            (Format::Protobuf, Shape::Whole) => in_protobuf,
            (Format::Protobuf, Shape::Table(_)) => false,
        }
    }

    fn pick(headers: &HeaderMap, served: impl Fn(Self) -> bool) -> Result<Self, Error> {
        let Some(accept) = headers.get(ACCEPT).and_then(|v| v.to_str().ok()) else {
            return Ok(Self::default());
        };
        if matches!(accept, "application/json" | "*/*" | "") {
            return Ok(Self::default());
        }
        let mut clauses: Vec<Clause<'_>> = accept.split(',').map(Clause::parse).collect();
        clauses.sort_by_key(|c| std::cmp::Reverse(c.quality));
        let mut answers = clauses.iter().filter_map(Clause::answer);
        let message = format!(
            "only the following media types are accepted: application/json, application/yaml, {PROTOBUF}"
        );
        answers.find(|answer| served(*answer)).ok_or_else(|| Error::new(Reason::NotAcceptable, message))
    }

    /// The form of a failure, which is that of success where a failure can have it, and JSON for who takes nothing
    /// of what is served.
    pub fn of_failure(headers: &HeaderMap) -> Self {
        Self::pick(headers, |answer| answer.shape == Shape::Whole).unwrap_or_default()
    }

    /// The same where there are no columns to show.
    ///
    /// # Errors
    /// 406 when nothing acceptable is served.
    pub fn without_table(headers: &HeaderMap) -> Result<Self, Error> {
        Self::pick(headers, |answer| !matches!(answer.shape, Shape::Table(_)))
    }

    /// The same where the answer has one shape, and is a text.
    ///
    /// # Errors
    /// 406 when nothing acceptable is served.
    pub fn plain(headers: &HeaderMap) -> Result<Self, Error> {
        Self::pick(headers, |answer| answer.shape == Shape::Whole && answer.format != Format::Protobuf)
    }

    /// The same of a stream of events.
    ///
    /// # Errors
    /// 406 when nothing acceptable is served.
    pub fn of_events(headers: &HeaderMap, in_protobuf: bool) -> Result<Self, Error> {
        Self::pick(headers, |answer| answer.is_in_events(in_protobuf))
    }

    /// The same of a stream that begins with a marked list, which is never made of Tables.
    ///
    /// # Errors
    /// 406 when nothing acceptable is served.
    pub fn of_list_in_events(headers: &HeaderMap, in_protobuf: bool) -> Result<Self, Error> {
        Self::pick(headers, |answer| {
            answer.is_in_events(in_protobuf) && !matches!(answer.shape, Shape::Table(_))
        })
    }

    fn is_in_events(self, in_protobuf: bool) -> bool {
        self.format != Format::Yaml && self.is_in_format(in_protobuf)
    }

    /// The `Content-Type` of the answer.
    pub const fn content_type(self) -> &'static str {
        match self.format {
            Format::Json => "application/json",
            Format::Yaml => "application/yaml",
            Format::Protobuf => PROTOBUF,
        }
    }
}

/// One media range of an `Accept` header.
pub(crate) struct Clause<'a> {
    pub media: &'a str,
    /// In thousandths.
    quality: u16,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Clause<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or("");
        let parameters: Vec<(&str, &str)> = parts.filter_map(|p| p.split_once('=')).collect();
        let quality = parameters
            .iter()
            .find(|(key, _)| *key == "q")
            .and_then(|(_, value)| value.parse::<f32>().ok())
            .map_or(1000, |q| (q.clamp(0.0, 1.0) * 1000.0) as u16);
        Self { media, quality, parameters }
    }

    /// In thousandths; 0 stands for what is not wanted.
    pub(crate) fn quality(&self) -> u16 {
        self.quality
    }

    pub(crate) fn parameter(&self, key: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)
    }

    fn answer(&self) -> Option<Answer> {
        if self.quality == 0 {
            return None;
        }
        let format = match self.media {
            "application/json" | "*/*" | "application/*" => Format::Json,
            "application/yaml" => Format::Yaml,
            PROTOBUF => Format::Protobuf,
            _ => return None,
        };
        let in_meta_group = self.parameter("g") == Some("meta.k8s.io");
        let shape = match (self.parameter("as"), self.parameter("v")) {
            (None, _) => Shape::Whole,
            (Some(form), Some(version)) if in_meta_group => {
                let version = ["v1", "v1beta1"].into_iter().find(|known| *known == version)?;
                match form {
                    "Table" => Shape::Table(version),
                    "PartialObjectMetadata" => Shape::Metadata(Partial { list: false, version }),
                    "PartialObjectMetadataList" => Shape::Metadata(Partial { list: true, version }),
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(Answer { format, shape })
    }
}

/// How a request's body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFormat {
    Json,
    Yaml,
    Protobuf,
}

/// The format of an object in a body. Upstream takes a missing type for JSON.
///
/// # Errors
/// 415, naming what is taken.
pub fn body_format(headers: &HeaderMap) -> Result<BodyFormat, Error> {
    match media_type(headers) {
        "" | "application/json" => Ok(BodyFormat::Json),
        "application/yaml" => Ok(BodyFormat::Yaml),
        PROTOBUF => Ok(BodyFormat::Protobuf),
        _ => Err(unsupported_media_type(
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// The 415 answer.
pub fn unsupported_media_type(accepted: &str) -> Error {
    Error::new(
        Reason::UnsupportedMediaType,
        format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        ),
    )
}

/// The media type of the body without parameters; empty when absent, `?` when it is no text.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).map_or("", |v| v.to_str().unwrap_or("?"));
    value.split(';').next().unwrap_or("").trim()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(accept: &str) -> Result<Answer, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        Answer::negotiate(&headers, false)
    }

    fn of_builtin(accept: &str) -> Result<Answer, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        Answer::negotiate(&headers, true)
    }

    #[test]
    fn clients_get_the_best_form_served() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(answer(kubectl).unwrap().shape, Shape::Table("v1"));
        let go = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(answer(go).unwrap(), Answer::default());
        assert_eq!(of_builtin(go).unwrap().format, Format::Protobuf);
        assert_eq!(of_builtin(&format!("{PROTOBUF};q=0.5,application/json")).unwrap(), Answer::default());
        assert_eq!(answer(PROTOBUF).unwrap_err().code(), 406);
        let metadata = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
        let list = Shape::Metadata(Partial { list: true, version: "v1" });
        let expected = Answer { format: Format::Protobuf, shape: list };
        assert_eq!((answer(&metadata).unwrap(), of_builtin(&metadata).unwrap()), (expected, expected));
        let table = format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1");
        assert_eq!(of_builtin(&table).unwrap_err().code(), 406);
        assert_eq!(of_builtin(&format!("{table},application/json")).unwrap(), Answer::default());
        assert_eq!(answer("application/json;q=0.1, application/yaml").unwrap().format, Format::Yaml);
        let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        assert_eq!(answer(partial).unwrap().shape, list);
        let one = Shape::Metadata(Partial { list: false, version: "v1beta1" });
        let partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1beta1";
        assert_eq!(answer(partial).unwrap().shape, one);
        assert_eq!(answer("application/json;as=Nothing;g=x;v=v1,*/*").unwrap(), Answer::default());
    }

    #[test]
    fn a_table_is_refused_where_there_is_none() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, table.parse().unwrap());
        assert_eq!(Answer::plain(&headers).unwrap_err().code(), 406);
        assert_eq!(Answer::without_table(&headers).unwrap_err().code(), 406);
        headers.insert(ACCEPT, format!("{table},application/json").parse().unwrap());
        assert_eq!(Answer::plain(&headers).unwrap(), Answer::default());
        headers
            .insert(ACCEPT, "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io".parse().unwrap());
        let one = Shape::Metadata(Partial { list: false, version: "v1" });
        assert_eq!(Answer::without_table(&headers).unwrap().shape, one);
        assert_eq!(Answer::plain(&headers).unwrap_err().code(), 406);
    }

    #[test]
    fn bodies_of_unknown_formats_are_refused_with_a_reason() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/cbor".parse().unwrap());
        let error = body_format(&headers).unwrap_err();
        assert_eq!(error.code(), 415);
        assert!(error.message.contains("unknown format - accepted media types include: application/json"));
        headers.insert(CONTENT_TYPE, "application/json; charset=utf-8".parse().unwrap());
        assert_eq!(body_format(&headers).unwrap(), BodyFormat::Json);
    }

    proptest! {
        #[test]
        fn any_header_has_its_answer(
            accept in "((application/(json|yaml|\\*)|\\*/\\*|[a-z]{0,3})(;[asvqg]=[A-Za-z0-9.-]{0,8}){0,3},?){0,4}|[ -~]{0,40}",
        ) {
            let _ = answer(&accept);
            // What is served last of all is served, unless it is refused by its quality.
            let wide = answer(&format!("{accept},*/*"));
            prop_assert!(wide.is_ok(), "{wide:?}");
        }
    }
}
