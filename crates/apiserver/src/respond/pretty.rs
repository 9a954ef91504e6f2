//! JSON with line breaks, for people: when a client asks for it, or is a program for people ([`wanted`]),
//! and its layout ([`indent`]). Pure; nothing is parsed or reordered.

use http::HeaderMap;
use http::header::USER_AGENT;

use crate::request::query::Query;

/// Programs people use by hand, as upstream guesses by their user agents.
const BY_HAND: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

/// Whether the answer shall have line breaks: `pretty` decides, and without it the user agent.
pub(crate) fn wanted(query: &Query, headers: &HeaderMap) -> bool {
    match query.non_empty("pretty") {
        Some(asked) => matches!(asked, "1" | "t" | "T" | "true" | "TRUE" | "True"),
        None => {
            let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("");
            BY_HAND.iter().any(|program| agent.starts_with(program))
        }
    }
}

/// The same JSON with a line a value and two spaces a level. What is no JSON comes out as some text.
pub(crate) fn indent(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let (mut in_string, mut escaped) = (false, false);
    let mut bytes = json.iter().copied().filter(|b| !b.is_ascii_control()).peekable();
    while let Some(byte) = bytes.next() {
        if in_string {
            out.push(byte);
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b' ' => {}
            b'"' => {
                in_string = true;
                out.push(byte);
            }
            b'{' | b'[' => {
                out.push(byte);
                while bytes.next_if_eq(&b' ').is_some() {}
                if let Some(end) = bytes.next_if(|next| matches!(next, b'}' | b']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => out.push(byte),
        }
    }
    out
}

fn line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', depth * 2));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_on_lines_of_their_own() {
        let json = br#"{"a":[1,{"b":"x,{\"\\"}],"c":{ },"d":[],"e":null}
"#;
        let expect = r#"{
  "a": [
    1,
    {
      "b": "x,{\"\\"
    }
  ],
  "c": {},
  "d": [],
  "e": null
}"#;
        assert_eq!(String::from_utf8(indent(json)).unwrap(), expect);
    }

    #[test]
    fn the_parameter_decides_before_the_program() {
        let mut headers = HeaderMap::new();
        let asks = |query: &str, headers: &HeaderMap| wanted(&Query::parse(query), headers);
        assert!(!asks("", &headers) && asks("pretty=true", &headers));
        headers.insert(USER_AGENT, "curl/8.0".parse().unwrap());
        assert!(asks("", &headers) && !asks("pretty=false", &headers));
    }
}
