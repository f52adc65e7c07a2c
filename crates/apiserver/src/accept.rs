//! The Accept header: which form and encoding of an answer a client asks for.
//!
//! Decides the first media range that this server can answer, those of the highest quality first and else in the client's
//! order; `q=0` excludes a range. It knows no kinds.
//!
//! Upstream: `apiserver/pkg/endpoints/handlers/negotiation`.

/// Media ranges read from one header: the longest that known clients send has six.
const MEDIA_RANGES_MAX: usize = 32;

/// One element of an Accept header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRange<'a> {
    pub media_type: &'a str,
    pub parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> MediaRange<'a> {
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        let found = self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| *value)
    }

    fn is(&self, media_type: &str) -> bool {
        self.media_type.eq_ignore_ascii_case(media_type)
    }

    /// Thousandths, as many as the header's grammar has.
    fn quality(&self) -> u16 {
        let q = self.parameter("q").and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
        (q.clamp(0.0, 1.0) * 1000.0) as u16
    }

    /// The encoding that this range allows, if any.
    fn encoding(&self) -> Option<Encoding> {
        match () {
            () if self.is("*/*") || self.is("application/*") || self.is("application/json") => {
                Some(Encoding::Json)
            }
            () if self.is("application/yaml") => Some(Encoding::Yaml),
            () => None,
        }
    }
}

/// The elements of an Accept header, best first, without those that it refuses.
pub fn media_ranges(header: &str) -> impl Iterator<Item = MediaRange<'_>> {
    let ranges = header.split(',').take(MEDIA_RANGES_MAX).filter_map(|element| {
        let mut parts = element.split(';').map(str::trim);
        let media_type = parts.next().filter(|name| !name.is_empty())?;
        let parameters = parts
            .filter_map(|part| part.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim().trim_matches('"')))
            .collect();
        Some(MediaRange { media_type, parameters }).filter(|range| range.quality() > 0)
    });
    let mut ranges: Vec<MediaRange<'_>> = ranges.collect();
    ranges.sort_by_key(|range| std::cmp::Reverse(range.quality()));
    ranges.into_iter()
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    Json,
    Yaml,
}

impl Encoding {
    pub const fn content_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
        }
    }
}

/// Version of the `meta.k8s.io` group, of Tables and of partial metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetaVersion {
    V1,
    V1beta1,
}

impl MetaVersion {
    pub const fn api_version(self) -> &'static str {
        match self {
            MetaVersion::V1 => "meta.k8s.io/v1",
            MetaVersion::V1beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// What an object or list is turned into before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// The object itself.
    Object,
    /// Rows for people.
    Table(MetaVersion),
    /// Only type and metadata, of one object.
    PartialMetadata(MetaVersion),
    /// The same of a list's items.
    PartialMetadataList(MetaVersion),
}

/// No media range can be answered: 406.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("only the following media types are accepted: application/json, application/yaml")]
pub struct NotAcceptable;

/// Which form of an object (or list, or watch) to answer, and in which encoding.
pub fn object_form(accept: Option<&str>) -> Result<(Form, Encoding), NotAcceptable> {
    let Some(header) = accept.filter(|header| !header.trim().is_empty()) else {
        return Ok((Form::Object, Encoding::Json));
    };
    media_ranges(header).find_map(|range| Some((form(&range)?, range.encoding()?))).ok_or(NotAcceptable)
}

fn form(range: &MediaRange<'_>) -> Option<Form> {
    let Some(kind) = range.parameter("as") else { return Some(Form::Object) };
    if range.parameter("g") != Some("meta.k8s.io") {
        return None;
    }
    let version = match range.parameter("v")? {
        "v1" => MetaVersion::V1,
        "v1beta1" => MetaVersion::V1beta1,
        _ => return None,
    };
    match kind {
        "Table" => Some(Form::Table(version)),
        "PartialObjectMetadata" => Some(Form::PartialMetadata(version)),
        "PartialObjectMetadataList" => Some(Form::PartialMetadataList(version)),
        _ => None,
    }
}

/// Whether a client that sent this `If-None-Match` already has the document with this (quoted) tag: 304.
pub fn is_not_modified(if_none_match: Option<&str>, etag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    let wanted = opaque(etag);
    if_none_match.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_range_that_can_be_answered_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        for (header, want) in [
            (None, Ok((Form::Object, Encoding::Json))),
            (Some(""), Ok((Form::Object, Encoding::Json))),
            (Some("*/*"), Ok((Form::Object, Encoding::Json))),
            (Some("application/yaml"), Ok((Form::Object, Encoding::Yaml))),
            (Some(kubectl), Ok((Form::Table(MetaVersion::V1), Encoding::Json))),
            (
                Some("application/json;as=Table;v=v2;g=meta.k8s.io, application/json"),
                Ok((Form::Object, Encoding::Json)),
            ),
            (
                Some("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
                Ok((Form::PartialMetadataList(MetaVersion::V1), Encoding::Json)),
            ),
            (Some("text/html, application/yaml;q=0.8, */*;q=0.9"), Ok((Form::Object, Encoding::Json))),
            (Some("application/json;q=0.5,application/yaml"), Ok((Form::Object, Encoding::Yaml))),
            (
                Some("application/vnd.kubernetes.protobuf, application/json"),
                Ok((Form::Object, Encoding::Json)),
            ),
            (Some("application/vnd.kubernetes.protobuf"), Err(NotAcceptable)),
            (Some("application/json;q=0"), Err(NotAcceptable)),
            (Some("application/json;as=Table;v=v1;g=other"), Err(NotAcceptable)),
        ] {
            assert_eq!(object_form(header), want, "{header:?}");
        }
    }

    #[test]
    fn a_known_tag_is_not_modified() {
        assert!(is_not_modified(Some("\"abc\""), "\"abc\""));
        assert!(is_not_modified(Some("W/\"x\", \"abc\""), "\"abc\""));
        assert!(is_not_modified(Some("*"), "\"abc\""));
        assert!(!is_not_modified(Some("\"abd\""), "\"abc\""));
        assert!(!is_not_modified(None, "\"abc\""));
    }
}
