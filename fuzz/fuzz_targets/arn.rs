//! Fuzzes the ARNs, buckets and other names that tenants enter.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    audit_log_hostile::arn::check(data);
});
