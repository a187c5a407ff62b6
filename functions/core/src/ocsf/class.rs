//! The classes of OCSF that events are mapped to, by their captions and those of their activities (the pages under
//! <https://schema.ocsf.io/1.8.0/classes>). `make ocsf` compares them with the schema.

use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Class {
    #[serde(rename = "Base Event")]
    BaseEvent,
    #[serde(rename = "Account Change")]
    AccountChange,
    Authentication,
    #[serde(rename = "Entity Management")]
    EntityManagement,
    #[serde(rename = "Application Lifecycle")]
    ApplicationLifecycle,
    #[serde(rename = "API Activity")]
    ApiActivity,
    #[serde(rename = "Scan Activity")]
    ScanActivity,
}

const UNKNOWN: (&str, u32) = ("Unknown", 0);
const OTHER: (&str, u32) = ("Other", 99);

impl Class {
    pub(super) fn uid(self) -> u32 {
        match self {
            Self::BaseEvent => 0,
            Self::AccountChange => 3001,
            Self::Authentication => 3002,
            Self::EntityManagement => 3004,
            Self::ApplicationLifecycle => 6002,
            Self::ApiActivity => 6003,
            Self::ScanActivity => 6007,
        }
    }

    pub(super) fn category_uid(self) -> u32 {
        self.uid() / 1000
    }

    pub(super) fn caption(self) -> &'static str {
        match self {
            Self::BaseEvent => "Base Event",
            Self::AccountChange => "Account Change",
            Self::Authentication => "Authentication",
            Self::EntityManagement => "Entity Management",
            Self::ApplicationLifecycle => "Application Lifecycle",
            Self::ApiActivity => "API Activity",
            Self::ScanActivity => "Scan Activity",
        }
    }

    /// Beyond `Unknown` and `Other`, which all classes have.
    fn activities(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::BaseEvent => &[],
            Self::AccountChange => &[
                ("Create", 1),
                ("Enable", 2),
                ("Password Change", 3),
                ("Password Reset", 4),
                ("Disable", 5),
                ("Delete", 6),
                ("Attach Policy", 7),
                ("Detach Policy", 8),
                ("Lock", 9),
                ("MFA Factor Enable", 10),
                ("MFA Factor Disable", 11),
                ("Unlock", 12),
            ],
            Self::Authentication => &[
                ("Logon", 1),
                ("Logoff", 2),
                ("Authentication Ticket", 3),
                ("Service Ticket Request", 4),
                ("Service Ticket Renew", 5),
                ("Preauth", 6),
                ("Account Switch", 7),
            ],
            Self::EntityManagement => &[
                ("Create", 1),
                ("Read", 2),
                ("Update", 3),
                ("Delete", 4),
                ("Move", 5),
                ("Enroll", 6),
                ("Unenroll", 7),
                ("Enable", 8),
                ("Disable", 9),
                ("Activate", 10),
                ("Deactivate", 11),
                ("Suspend", 12),
                ("Resume", 13),
            ],
            Self::ApplicationLifecycle => &[
                ("Install", 1),
                ("Remove", 2),
                ("Start", 3),
                ("Stop", 4),
                ("Restart", 5),
                ("Enable", 6),
                ("Disable", 7),
                ("Update", 8),
            ],
            Self::ApiActivity => &[("Create", 1), ("Read", 2), ("Update", 3), ("Delete", 4)],
            Self::ScanActivity => &[
                ("Started", 1),
                ("Completed", 2),
                ("Cancelled", 3),
                ("Duration Violation", 4),
                ("Pause Violation", 5),
                ("Error", 6),
                ("Paused", 7),
                ("Resumed", 8),
                ("Restarted", 9),
                ("Delayed", 10),
            ],
        }
    }

    /// The id of an activity.
    pub(super) fn activity(self, caption: &str) -> Option<u32> {
        let mut all = self.activities().iter().chain([&UNKNOWN, &OTHER]);
        all.find(|(known, _)| *known == caption).map(|(_, id)| *id)
    }

    /// Whether the class has the attribute `actor`. The others have it by the profile `host`.
    pub(super) fn has_actor(self) -> bool {
        use Class::{AccountChange, ApiActivity, Authentication, EntityManagement};
        matches!(self, AccountChange | Authentication | EntityManagement | ApiActivity)
    }

    /// Whether the class has the attribute `src_endpoint`.
    pub(super) fn has_source(self) -> bool {
        self.has_actor()
    }
}
