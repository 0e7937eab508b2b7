"""Where the authors' weights lie: one table of repository, file and licence.

Sizes are those of float32 weights; a file may hold an optimizer beside them. No SHA-256 is stated
where nobody has computed one from the file itself; the hub compares its own.
"""

import dataclasses

MIT, NONE = "MIT", "none stated"
TOKENIZER = "vq16"
IMAGENET, UCF = "ImageNet (ILSVRC 2012)", "UCF-101"


@dataclasses.dataclass(frozen=True)
class Published:
    """Weights that their authors released on the Hugging Face hub.

    name: short, as `from_pretrained` takes it; "owner/name" of a repository of one model, and
        "owner/name/file" are taken too.
    repository: "owner/name".
    file: in it; "" is the only checkpoint that it holds.
    parameters: how many numbers.
    licence: of the weights, as their repository states it.
    tokenizer: what draws its tokens, by name; "" for a tokenizer.
    sha256: of the file; "" where it is not known.
    grid: tokens per side, where the file need not tell and the published model of its width has
        others; 0: none of that.
    data: that they were trained on.
    """

    name: str
    repository: str
    file: str
    parameters: int
    licence: str
    tokenizer: str = TOKENIZER
    sha256: str = ""
    grid: int = 0
    data: str = IMAGENET

    @property
    def size(self) -> str:
        """Of its float32 weights, for people."""
        return f"{4 * self.parameters / 1e9:.2g} GB"


LLAMAGEN, PAR = "FoundationVision/LlamaGen", "Epiphqny/PAR"
RANDAR, RANDAR_RUN = "ziqipang/RandAR", "llamagen_360k_bs_1024_lr_0.0004.safetensors"
ARPG = "hp-l33/ARPG"
NBP = "ShuhuaiRen/NBP-tokenizer-ucf"  # of clips
PUBLISHED = {
    entry.name: entry
    for entry in (
        Published("lpd_l_256", "mit-han-lab/lpd_l_256", "", 337_157_120, MIT),
        Published("lpd_xl_256", "mit-han-lab/lpd_xl_256", "", 751_947_520, MIT),
        Published("lpd_xxl_256", "mit-han-lab/lpd_xxl_256", "", 1_412_184_576, MIT),
        Published("lpd_l_512", "mit-han-lab/lpd_l_512", "", 337_943_552, MIT),
        Published("lpd_xl_512", "mit-han-lab/lpd_xl_512", "", 752_930_560, MIT),
        Published("par_xl_4x", PAR, "PAR-XL-4x.pt", 774_703_360, NONE),
        Published("par_xxl_4x", PAR, "PAR-XXL-4x.pt", 1_410_977_280, NONE),
        Published("par_3b_4x", PAR, "PAR-3B-4x.pt", 3_096_668_800, NONE),
        Published("par_3b_16x", PAR, "PAR-3B-16x.pt", 3_096_707_200, NONE),
        Published("llamagen_b_256", LLAMAGEN, "c2i_B_256.pt", 110_888_448, MIT, grid=16),
        Published("llamagen_b_384", LLAMAGEN, "c2i_B_384.pt", 110_888_448, MIT),
        Published("llamagen_l_256", LLAMAGEN, "c2i_L_256.pt", 342_910_976, MIT, grid=16),
        Published("llamagen_l_384", LLAMAGEN, "c2i_L_384.pt", 342_910_976, MIT),
        Published("llamagen_xl_384", LLAMAGEN, "c2i_XL_384.pt", 774_699_520, MIT),
        Published("llamagen_xxl_384", LLAMAGEN, "c2i_XXL_384.pt", 1_410_972_672, MIT),
        Published("llamagen_3b_384", LLAMAGEN, "c2i_3B_384.pt", 3_096_659_200, MIT),
        Published("randar_l_256", RANDAR, f"randar_0.3b_{RANDAR_RUN}", 342_912_000, MIT),
        Published("randar_xl_256", RANDAR, f"randar_0.7b_{RANDAR_RUN}", 774_700_800, MIT),
        Published("arpg_l_256", ARPG, "arpg_300m.pt", 319_845_376, MIT),
        Published("arpg_xl_256", ARPG, "arpg_700m.pt", 718_997_760, MIT),
        Published("arpg_xxl_256", ARPG, "arpg_1b.pt", 1_302_449_664, MIT),
        Published("vq16", LLAMAGEN, "vq_ds16_c2i.pt", 71_883_403, MIT, ""),
        Published("vq8", LLAMAGEN, "vq_ds8_c2i.pt", 70_109_835, MIT, ""),
        Published("nbp_video", NBP, "magvit2_ucf.pt", 370_372_105, MIT, "", data=UCF),
    )
}


def find_published(name: str) -> Published | None:
    """The entry of a short name, of a repository of one model, or of "owner/name/file"."""
    for entry in PUBLISHED.values():
        if name == entry.name or name == (f"{entry.repository}/{entry.file}").rstrip("/"):
            return entry
    return None
