//! Documents of registries and archives: manifests, indexes, image configurations, `docker save`'s list.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::image::manifest::{DockerArchiveImage, Document, ImageConfig, Platform};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Document::Index(index)) = Document::parse(bytes) {
        let _ = index.choose(&Platform::host());
    }
    let _ = ImageConfig::parse(bytes);
    let _ = serde_json::from_slice::<Vec<DockerArchiveImage>>(bytes);
});
