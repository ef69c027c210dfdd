//! The system calls Transom needs, behind a trait with a recording fake.
