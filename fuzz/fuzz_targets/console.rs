//! Fuzzes requests to the console.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    audit_log_hostile::console::check(data);
});
