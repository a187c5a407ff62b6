//! A sign for each kind of log type, by the words in its name: platforms choose these names themselves.

/// A symbol of the pages, and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Icon {
    pub(super) symbol: &'static str,
    pub(super) meaning: &'static str,
}

/// The first that a name has a word of wins.
const ICONS: &[(&[&str], Icon)] = &[
    (&["export"], Icon { symbol: "export", meaning: "Export" }),
    (&["auth", "login", "session", "sign-in", "mfa", "sso"], Icon { symbol: "key", meaning: "Authentication" }),
    (
        &["user", "member", "role", "access", "permission", "group", "team"],
        Icon { symbol: "person", meaning: "People and access" },
    ),
    (&["scan", "security", "threat", "alert", "incident", "policy"], Icon { symbol: "shield", meaning: "Security" }),
    (&["setting", "config", "preference", "admin"], Icon { symbol: "sliders", meaning: "Configuration" }),
    (&["api", "token", "integration", "connector", "webhook"], Icon { symbol: "plug", meaning: "Integrations" }),
    (&["file", "document", "data", "report", "record"], Icon { symbol: "file", meaning: "Data" }),
    (&["system"], Icon { symbol: "gear", meaning: "The system itself" }),
];

impl Icon {
    pub(super) fn of(log_type: &str) -> Self {
        let name = log_type.to_lowercase();
        let icon = ICONS.iter().find(|(words, _)| words.iter().any(|word| name.contains(word)));
        icon.map_or(Self { symbol: "dot", meaning: "Other" }, |(_, icon)| *icon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_type_has_the_sign_of_what_its_name_speaks_of() {
        for (log_type, symbol) in [
            ("Authentication", "key"),
            ("Audit Log Export", "export"),
            ("User Management", "person"),
            ("System", "gear"),
            ("Scan", "shield"),
            ("Etwas anderes", "dot"),
        ] {
            assert_eq!(Icon::of(log_type).symbol, symbol, "{log_type}");
        }
        let symbols = include_str!("../../../templates/symbols.html");
        for (_, Icon { symbol, .. }) in ICONS {
            assert!(symbols.contains(&format!("id=\"i-{symbol}\"")), "{symbol} is not drawn");
        }
    }
}
