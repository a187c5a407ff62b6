//! What a check finds.

use serde::Serialize;

use crate::window::Window;

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub kind: Kind,
    pub severity: Severity,
    /// The time that it is about.
    pub window: Option<Window>,
    /// The file that it is about, relative to the tenant's folder.
    pub path: Option<String>,
    /// In words.
    pub detail: String,
}

impl Finding {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, severity: kind.severity(), window: None, path: None, detail: detail.into() }
    }

    pub(crate) fn of(self, window: Window) -> Self {
        Self { window: Some(window), ..self }
    }

    pub(crate) fn make_error(&mut self) {
        self.severity = Severity::Error;
    }

    pub(crate) fn at(self, path: impl Into<String>) -> Self {
        Self { path: Some(path.into()), ..self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The folder isn't what the platform signed, or can't be proved to be.
    Error,
    /// Something couldn't be read.
    Unchecked,
    /// Good to know. The folder is valid nonetheless.
    Notice,
}

/// Declares the kinds with their severities and what they mean.
macro_rules! kinds {
    ($($name:ident $severity:ident $meaning:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind {
            $(#[doc = $meaning] $name,)*
        }

        impl Kind {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// What it means, and what to do.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

kinds! {
    ManifestMissing Error "Manifests are missing between two others. Copy the folder again. If they are not in the bucket, they \
        were deleted, or the windows were delivered to another place while the destination was another: verify that place too.",
    ManifestChanged Error "Manifests are not as the platform signed them. Copy them again. If the bucket has the same, somebody who \
        can write to it changed them: look into the bucket's access logs, and ask the platform to deliver the windows again.",
    ManifestUnsigned Error "Manifests have no signature, and no signed manifest confirms them: the platform could not sign, or somebody \
        removed the signatures. Compare the audit events Window Unsigned. If these are the newest, verify again once the platform signs, \
        or give --head. Else ask the platform.",
    UnknownKey Error "Manifests are signed by keys that were not given, and prove nothing. If the platform confirms that the key is \
        its own, give it with --key; an old key is needed for what it signed.",
    ManifestMoved Error "Manifests are not where they belong. The platform never moves one: look for who did.",
    ChainBroken Error "A manifest names another predecessor than the one that is there, and that one is signed too. Ask the platform: \
        it has signed two histories.",
    ChainForked Error "A manifest continues an earlier one than its predecessor. Ask the platform: a table may have been restored.",
    ChainRestarted Error "The chain begins anew, so it doesn't prove that nothing is missing between the two windows. Ask the platform: \
        the tenant was erased and connected again, or a table was lost.",
    WindowGap Error "The platform signed windows with a gap or an overlap between them. Ask the platform.",
    Cut Error "No trusted manifest in the folder has the head that was given. If keys are unknown, give them first. Then copy the \
        folder again. If the bucket lacks the manifest too, the newest ones were deleted, or the platform has delivered windows again or signed another history. Ask the platform if the newest \
        windows are there.",
    NotCovered Error "Windows of the time that was asked for are not in the folder. Copy all of it, or ask for less.",
    FileMissing Error "Files are missing. Copy the folder again. If the bucket lacks them, they were deleted, or have expired by a \
        lifecycle rule: ask the platform to deliver the windows again, or use --from.",
    FileChanged Error "Files have other bytes than the platform signed. Copy them again. If the bucket has the same, somebody who can \
        write to it changed them: look into the bucket's access logs, and ask the platform to deliver the windows again.",
    FileMoved Error "Files have another name than the platform gave them. Their bytes are unchanged. Move them back.",
    FileUnlisted Error "No manifest has these files, so nothing says that the platform delivered them. Don't take them for audit \
        logs. If they are newer than the last manifest, copy the folder again later: a window may have been in delivery, or waits for \
        its signature.",
    EventsDiffer Error "The platform signed files and counts that do not fit together. Ask the platform.",
    EventsUnreadable Error "Files are as the platform signed them, but do not hold events. Ask the platform.",
    Unreadable Unchecked "Files could not be read, so this check is incomplete. Make them readable and check again.",
    PredecessorAbsent Notice "The first manifest continues one that is not in the folder, so this proves nothing about the time \
        before. That time was delivered to another place, has expired by a lifecycle rule, or was deleted.",
    UnsignedInChain Notice "These manifests have no signature: the platform could not sign, or somebody removed it; compare the audit \
        events Window Unsigned. They are proved nonetheless, by a later signature that their hashes lead to, or by --head.",
    Incomplete Notice "The platform says that events may be missing in these windows, since they were deleted before they could be \
        delivered.",
    Amended Notice "The platform has delivered these windows again with other files than at first, and says so with a signature. Compare \
        the audit events Manifest Amended, and the first manifest, which is still there.",
    Leftover Notice "No manifest has these files. They are beside others of the same window, or where a place was left, as a change of \
        settings during a delivery leaves them, or as somebody added them. Exclude them from what you rely on; --json lists them.",
    BeforeChain Notice "Files that are older than the first manifest are not proved: the platform didn't sign at that time, or somebody \
        added them. Exclude them \
        from what you rely on; --json lists them.",
    DatesOutside Notice "Events have dates outside their window. A window has what was recorded in it, and an event's date is when it \
        happened, so this is usual for events that are handed in later.",
    OtherSignature Notice "Manifests have further signatures, by keys that were not given. They change nothing.",
    OperatingSystemFile Notice "Files that operating systems put into folders are ignored.",
}

impl Kind {
    /// Whether it is a file that is there and not proved, and yet no error.
    pub(crate) fn is_unproved_file(self) -> bool {
        matches!(self, Self::Leftover | Self::BeforeChain)
    }

    /// The name in JSON.
    pub fn name(self) -> String {
        let mut name = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kinds_name_is_the_one_in_json() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
