//! Fuzzes access tokens.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    audit_log_hostile::token::check(data);
});
