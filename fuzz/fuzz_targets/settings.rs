//! Fuzzes tenant settings, typed and stored.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    audit_log_hostile::settings::check(data);
});
