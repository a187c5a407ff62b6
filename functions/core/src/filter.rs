//! Values to keep and values to leave out.

/// A value passes if it is one of those in `only`, or `only` is empty, and none of those in `except`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub only: Vec<String>,
    pub except: Vec<String>,
}

impl Filter {
    pub fn only<const N: usize>(values: [&str; N]) -> Self {
        Self { only: values.map(str::to_owned).into(), except: Vec::new() }
    }

    pub fn passes(&self, value: &str) -> bool {
        self.passes_if(|it| it == value)
    }

    pub(crate) fn passes_if(&self, is_value: impl Fn(&str) -> bool) -> bool {
        let has = |values: &[String]| values.iter().any(|it| is_value(it));
        (self.only.is_empty() || has(&self.only)) && !has(&self.except)
    }
}

/// What the events table may leave out, by its copies of an event's action and log type.
#[derive(Debug, Clone, Copy)]
pub struct CopyFilter<'a> {
    pub actions: &'a Filter,
    pub log_types: &'a Filter,
}

impl CopyFilter<'_> {
    /// Whether an event with these copies is needed. Without a copy, it may be.
    pub fn passes(self, action: Option<&str>, log_type: Option<&str>) -> bool {
        action.is_none_or(|action| self.actions.passes(action))
            && log_type.is_none_or(|log_type| self.log_types.passes(log_type))
    }
}
