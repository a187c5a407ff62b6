//! AWS's partitions and their regions. The table is botocore's data; `tests/structure/regions.py` compares
//! the two, and `--write` brings the table up to date.

use std::fmt;

use super::{Invalid, quoted};

macro_rules! partitions {
    ($($partition:ident = $name:literal, $dns_suffix:literal, [$($region:literal),+ $(,)?];)+) => {
        /// A group of regions with its own accounts. No role is assumed and no object is written across partitions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Partition {
            $($partition,)+
        }

        impl Partition {
            pub const ALL: &[Self] = &[$(Self::$partition),+];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$partition => $name,)+
                }
            }

            /// The end of its services' host names, as in `kms:ViaService`.
            pub fn dns_suffix(self) -> &'static str {
                match self {
                    $(Self::$partition => $dns_suffix,)+
                }
            }

            fn regions(self) -> &'static [&'static str] {
                match self {
                    $(Self::$partition => &[$($region),+],)+
                }
            }
        }
    };
}

impl Partition {
    /// # Errors
    /// If no known partition has that name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let known = Self::ALL.iter().copied().find(|partition| partition.as_str() == text);
        known.ok_or_else(|| unknown("partition", text))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An AWS region. Endpoints are built from these alone, never from a tenant's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    name: &'static str,
    partition: Partition,
}

impl Region {
    /// # Errors
    /// If no known region has that name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Self::all().find(|region| region.name == text).ok_or_else(|| unknown("region", text))
    }

    /// In alphabetical order within each partition.
    pub fn all() -> impl Iterator<Item = Self> {
        let regions = |partition: Partition| partition.regions().iter().map(move |name| Self { name, partition });
        Partition::ALL.iter().copied().flat_map(regions)
    }

    pub fn as_str(self) -> &'static str {
        self.name
    }

    pub fn partition(self) -> Partition {
        self.partition
    }

    /// The region's host of the AWS console; `None` in partitions whose console is not public. Sources: "AWS Management
    /// Console endpoints and quotas" in the AWS General Reference, also in its editions for China, AWS GovCloud (US) and the
    /// AWS European Sovereign Cloud.
    pub fn console_host(self) -> Option<String> {
        let domain = match self.partition {
            Partition::Aws => "console.aws.amazon.com",
            Partition::AwsCn => "console.amazonaws.cn",
            Partition::AwsEusc => "console.amazonaws-eusc.eu",
            Partition::AwsUsGov => "console.amazonaws-us-gov.com",
            Partition::AwsIso | Partition::AwsIsoB | Partition::AwsIsoE | Partition::AwsIsoF => return None,
        };
        Some(format!("{self}.{domain}"))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The name may be misspelled, or newer than the table.
fn unknown(what: &str, name: &str) -> Invalid {
    let (name, version) = (quoted(name), env!("CARGO_PKG_VERSION"));
    Invalid(format!(
        "unknown AWS {what} {name}; version {version} knows the {what}s of {AS_OF}: correct the name, or ask the platform's operators to update"
    ))
}

/// When the table was last brought up to date.
const AS_OF: &str = "November 2026";

partitions! {
    Aws = "aws", "amazonaws.com", [
        "af-south-1",
        "ap-east-1",
        "ap-east-2",
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-northeast-3",
        "ap-south-1",
        "ap-south-2",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "ap-southeast-5",
        "ap-southeast-6",
        "ap-southeast-7",
        "ca-central-1",
        "ca-west-1",
        "eu-central-1",
        "eu-central-2",
        "eu-north-1",
        "eu-south-1",
        "eu-south-2",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "il-central-1",
        "me-central-1",
        "me-south-1",
        "me-west-1",
        "mx-central-1",
        "sa-east-1",
        "sa-west-1",
        "us-east-1",
        "us-east-2",
        "us-west-1",
        "us-west-2",
    ];
    AwsCn = "aws-cn", "amazonaws.com.cn", [
        "cn-north-1",
        "cn-northwest-1",
    ];
    AwsEusc = "aws-eusc", "amazonaws.eu", [
        "eusc-de-east-1",
    ];
    AwsIso = "aws-iso", "c2s.ic.gov", [
        "us-iso-east-1",
        "us-iso-west-1",
    ];
    AwsIsoB = "aws-iso-b", "sc2s.sgov.gov", [
        "us-isob-east-1",
        "us-isob-west-1",
    ];
    AwsIsoE = "aws-iso-e", "cloud.adc-e.uk", [
        "eu-isoe-west-1",
    ];
    AwsIsoF = "aws-iso-f", "csp.hci.ic.gov", [
        "us-isof-east-1",
        "us-isof-south-1",
    ];
    AwsUsGov = "aws-us-gov", "amazonaws.com", [
        "us-gov-east-1",
        "us-gov-west-1",
    ];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn only_known_regions_become_endpoints() {
        for bad in ["", "us-east-9", "evil.example.com/", "US-EAST-1", "aws-global"] {
            assert!(Region::parse(bad).is_err(), "{bad:?}");
        }
        for (name, partition) in [
            ("eu-west-1", Partition::Aws),
            ("cn-north-1", Partition::AwsCn),
            ("eusc-de-east-1", Partition::AwsEusc),
            ("us-isob-east-1", Partition::AwsIsoB),
            ("us-gov-west-1", Partition::AwsUsGov),
        ] {
            assert_eq!(Region::parse(name).map(Region::partition), Ok(partition));
            assert_eq!(Partition::parse(partition.as_str()), Ok(partition));
        }
        assert!(Region::all().all(|region| Region::parse(region.as_str()) == Ok(region)));
        let names: BTreeSet<_> = Region::all().map(Region::as_str).collect();
        assert_eq!(names.len(), Region::all().count(), "two partitions have a region of one name");
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_version_and_what_it_knows() {
        let version = format!("version {}", env!("CARGO_PKG_VERSION"));
        for message in [Region::parse("moon-1").unwrap_err().0, Partition::parse("aws-moon").unwrap_err().0] {
            assert!(message.contains(&version) && message.contains(AS_OF), "{message}");
        }
    }

    #[test]
    fn each_partition_with_a_public_console_has_its_own() {
        for (name, host) in [
            ("eu-west-1", Some("eu-west-1.console.aws.amazon.com")),
            ("cn-northwest-1", Some("cn-northwest-1.console.amazonaws.cn")),
            ("eusc-de-east-1", Some("eusc-de-east-1.console.amazonaws-eusc.eu")),
            ("us-gov-east-1", Some("us-gov-east-1.console.amazonaws-us-gov.com")),
            ("us-iso-east-1", None),
        ] {
            assert_eq!(Region::parse(name).unwrap().console_host().as_deref(), host);
        }
    }
}
