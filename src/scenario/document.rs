//! A YAML file that knows its name and its text, so that every error shows file, line, column and the place itself.

use std::{borrow::Cow, fmt};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Localizer, Location, MessageFormatter, Options, Spanned, UserMessageFormatter};

use super::Error;

/// A text file of a scenario.
#[derive(Debug, Clone)]
pub(super) struct Document {
    name: String,
    text: String,
}

impl Document {
    pub(super) fn new(name: String, text: String) -> Self {
        Self { name, text }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Read the document as a `T`.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_saphyr::from_str_with_options(&self.text, limits()).map_err(|error| self.unread(&error))
    }

    /// Read the document as `kubectl` does, by YAML 1.1: `0755` is 493 and `yes` is true, as a value and as a key.
    pub(super) fn value(&self) -> Result<Value, Error> {
        let outline = self.outline().map_err(|error| self.unread(&error))?;
        Ok(outline.value.value())
    }

    fn outline(&self) -> Result<Spanned<Outline>, serde_saphyr::Error> {
        let mut options = limits();
        options.legacy_octal_numbers = true;
        serde_saphyr::from_str_with_options(&self.text, options)
    }

    fn unread(&self, error: &serde_saphyr::Error) -> Error {
        let message = error.without_snippet().render_with_formatter(&Wording);
        self.error(error.location(), &message)
    }

    /// The error `message` about the value at a JSON pointer; about the mapping that lacks it when it is not there.
    pub(super) fn error_at(&self, at: &str, message: &str) -> Error {
        let outline = self.outline().ok();
        self.error(outline.map(|outline| locate(&outline, at)), message)
    }

    /// The error `message` about the key at a JSON pointer.
    pub(super) fn error_at_key(&self, at: &str, message: &str) -> Error {
        let outline = self.outline().ok();
        self.error(outline.and_then(|outline| locate_key(&outline, at)), message)
    }

    fn error(&self, location: Option<Location>, message: &str) -> Error {
        let place = location.and_then(|location| Some((location, self.offset(location)?)));
        let Some((location, start)) = place else {
            return Error::Invalid(format!("{}: {message}", self.name));
        };
        let length = extent(&self.text[start..], location);
        let snippet = Snippet::source(&self.text)
            .path(&self.name)
            .annotation(AnnotationKind::Primary.span(start..start + length));
        let report = Level::ERROR.no_name().primary_title(message).element(snippet);
        Error::Invalid(Renderer::plain().render(&[report]))
    }

    /// Byte offset of a location.
    fn offset(&self, location: Location) -> Option<usize> {
        let line = usize::try_from(location.line()).ok()?.checked_sub(1)?;
        let column = usize::try_from(location.column()).ok()?.checked_sub(1)?;
        let start: usize = self.text.split_inclusive('\n').take(line).map(str::len).sum();
        let rest = self.text.get(start..)?;
        let within = rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at);
        Some(start + within)
    }
}

/// Bytes of `text`, which begins at `location`, that belong to what stands there: as far as the parser says, but not
/// beyond the line.
fn extent(text: &str, location: Location) -> usize {
    let line = text.split(['\n', '\r']).next().unwrap_or_default().trim_end();
    let told = usize::try_from(location.span().len()).unwrap_or(0);
    line.char_indices()
        .nth(told)
        .map_or(line.len(), |(end, _)| end)
        .max(1)
        .min(line.len())
}

/// The parser's messages without their place, which the snippet shows.
struct Wording;

impl MessageFormatter for Wording {
    fn localizer(&self) -> &dyn Localizer {
        self
    }

    fn format_message<'a>(&self, error: &'a serde_saphyr::Error) -> Cow<'a, str> {
        match error {
            serde_saphyr::Error::InvalidScalar { ty, .. } if ty.starts_with(['i', 'u']) => {
                "expected a whole number".into()
            }
            serde_saphyr::Error::InvalidScalar { ty, .. } if ty.starts_with('f') => {
                "expected a number".into()
            }
            error => UserMessageFormatter.format_message(error),
        }
    }
}

impl Localizer for Wording {
    fn attach_location<'a>(&self, base: Cow<'a, str>, _: Location) -> Cow<'a, str> {
        base
    }
}

/// A scenario is small; what is not is refused before it costs anything.
fn limits() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 100_000,
            max_nodes: 50_000,
            max_depth: 40,
            max_documents: 1,
            max_aliases: 100,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 10_000,
        },
    }
}

/// A document's values and keys with their places.
enum Outline {
    Scalar(Value),
    Sequence(Vec<Spanned<Outline>>),
    Mapping(Vec<(Spanned<Key>, Spanned<Outline>)>),
}

/// A key as text, also one that YAML takes for a number or for true.
struct Key(String);

impl Outline {
    fn value(self) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::Sequence(items) => items.into_iter().map(|item| item.value.value()).collect(),
            Self::Mapping(entries) => entries
                .into_iter()
                .map(|(key, value)| (key.value.0, value.value.value()))
                .collect(),
        }
    }

    /// The part that a segment of a path means: a key of a mapping, or an index of a sequence.
    fn child(&self, segment: &str) -> Option<(Location, &Spanned<Self>)> {
        match self {
            Self::Scalar(_) => None,
            Self::Sequence(items) => {
                let item = items.get(segment.parse::<usize>().ok()?)?;
                Some((item.referenced, item))
            }
            Self::Mapping(entries) => entries
                .iter()
                .find(|(key, _)| key.value.0 == segment)
                .map(|(key, value)| (key.referenced, value)),
        }
    }
}

/// Segments of a JSON pointer (RFC 6901).
fn segments(pointer: &str) -> impl Iterator<Item = String> {
    pointer
        .split('/')
        .skip(1)
        .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
}

/// A key as a segment of a JSON pointer.
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Location of the value at a pointer, or of the deepest key on the way to it.
fn locate(root: &Spanned<Outline>, pointer: &str) -> Location {
    let (mut place, mut node) = (root.referenced, root);
    for segment in segments(pointer) {
        match node.value.child(&segment) {
            Some((key, child)) => (place, node) = (key, child),
            None => return place,
        }
    }
    node.referenced
}

fn locate_key(root: &Spanned<Outline>, pointer: &str) -> Option<Location> {
    let (mut place, mut node) = (None, root);
    for segment in segments(pointer) {
        let (key, child) = node.value.child(&segment)?;
        (place, node) = (Some(key), child);
    }
    place
}

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OutlineVisitor)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(OutlineVisitor)? {
            Outline::Scalar(Value::String(text)) => Ok(Self(text)),
            Outline::Scalar(value) => Ok(Self(value.to_string())),
            Outline::Sequence(_) | Outline::Mapping(_) => Err(de::Error::custom("a key must be a word")),
        }
    }
}

struct OutlineVisitor;

macro_rules! scalars {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, value: $type) -> Result<Outline, E> { Ok(Outline::Scalar(value.into())) })*
    };
}

impl<'de> Visitor<'de> for OutlineVisitor {
    type Value = Outline;

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_str: &str);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Outline, E> {
        if !value.is_finite() {
            return Err(E::custom("not a number that JSON has"));
        }
        // `5.0` and `08` are whole numbers to JSON's readers.
        let whole = value.to_string().parse::<i64>();
        Ok(Outline::Scalar(whole.map_or_else(|_| value.into(), Value::from)))
    }

    fn visit_unit<E>(self) -> Result<Outline, E> {
        Ok(Outline::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Outline, E> {
        Ok(Outline::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Outline, D::Error> {
        Outline::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Outline, A::Error> {
        let mut sequence = Vec::new();
        while let Some(item) = items.next_element()? {
            sequence.push(item);
        }
        Ok(Outline::Sequence(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Outline, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(Outline::Mapping(mapping))
    }
}
