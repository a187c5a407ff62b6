//! The format, compression and schema of a tenant's files.

use super::{Invalid, quoted};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON array, one event a line. The first and the last line are brackets, so it can't be read line by line.
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

    /// As in settings and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
        }
    }

    /// The same with and without compression.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    #[default]
    None,
    /// One gzip member. The key ends in `.gz`; no Content-Encoding is set, since clients would unpack the object.
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

    /// As in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
        }
    }
}

/// What a line of a file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Schema {
    /// An event as it was recorded, byte for byte.
    #[default]
    Native,
    /// An event of the Open Cybersecurity Schema Framework, made of the native one.
    Ocsf,
}

impl Schema {
    /// # Errors
    /// If the text is neither `native` nor `ocsf`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "native" => Ok(Self::Native),
            "ocsf" => Ok(Self::Ocsf),
            _ => Err(Invalid(format!("the schema is native or ocsf, not {}", quoted(text)))),
        }
    }

    /// As in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ocsf => "ocsf",
        }
    }

    /// As in each object's metadata.
    pub fn version(self) -> &'static str {
        match self {
            Self::Native => "1",
            Self::Ocsf => "ocsf-1.8.0",
        }
    }
}
