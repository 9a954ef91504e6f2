//! Image names: what is taken prints as a name that is taken as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::Reference;
use runtime::image::ImageName;

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        let _ = (reference.domain(), reference.path(), reference.tag(), reference.digest());
        assert_eq!(reference.to_string().parse::<Reference>().as_ref(), Ok(&reference));
    }
    if let Ok(name) = text.parse::<ImageName>() {
        let _ = name.repository();
        assert_eq!(name.to_string().parse::<ImageName>().as_ref(), Ok(&name));
    }
});
