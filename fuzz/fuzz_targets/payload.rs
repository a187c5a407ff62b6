//! Fuzzes the payloads of exporter and recorder.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    audit_log_hostile::payload::check(data);
});
