//! How a tenant wants its files: format and compression.

use super::{Invalid, quoted};

/// How an object's events are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON array, one event a line.
    #[default]
    Json,
    /// One event a line.
    Ndjson,
}

impl Format {
    /// # Errors
    /// If the text is neither `json` nor `ndjson`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "json" => Ok(Self::Json),
            "ndjson" => Ok(Self::Ndjson),
            _ => Err(Invalid(format!("the format is json or ndjson, not {}", quoted(text)))),
        }
    }

    /// As settings and keys have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
        }
    }

    /// The object's Content-Type, compressed or not.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// How an object is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// As one gzip member; the key ends in `.gz`, and no Content-Encoding is set, so that no client unpacks it unasked.
    Gzip,
}

impl Compression {
    /// # Errors
    /// If the text is neither `none` nor `gzip`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "none" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            _ => Err(Invalid(format!("the compression is none or gzip, not {}", quoted(text)))),
        }
    }

    /// As settings have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
        }
    }
}
