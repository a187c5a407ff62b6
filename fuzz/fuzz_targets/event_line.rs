//! Fuzzes event bodies on their way into an export.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    audit_log_hostile::event_line::check(data);
});
