"""Invented people: names, addresses, and what they say when they leave."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

_INDONESIAN_FIRST = (
    "Adi Agus Andi Ayu Bayu Bambang Citra Dewi Dian Dimas Eka Fajar Fitri Galih Gita Hadi Hendra"
    " Indah Intan Joko Kartika Lestari Made Maya Nanda Nur Putra Putri Rahmat Ratna Rini Rizky"
    " Sari Satria Siti Sri Surya Tri Utami Wahyu Wayan Wulan Yanti Yoga Yudi"
).split()
_INDONESIAN_LAST = (
    "Anggraini Firmansyah Gunawan Halim Hartono Hidayat Kurniawan Kusuma Lubis Maulana Nugroho"
    " Nasution Permana Pertiwi Pratama Purnama Rahayu Saputra Santoso Setiawan Siregar Siswanto"
    " Subagyo Suryani Susanti Sutrisno Syahputra Tanjung Wibowo Wijaya Wirawan Yulianti"
).split()
_ENGLISH_FIRST = (
    "Alice Amelia Arthur Ben Charlotte Chloe Daniel Edward Ella Emily Ethan Freya George Grace"
    " Hannah Harry Isla Jack James Jessica Leo Lily Lucas Mia Nathan Noah Oliver Olivia Oscar"
    " Poppy Ruby Samuel Sophie Theo Thomas William Zoe"
).split()
_ENGLISH_LAST = (
    "Adams Bailey Barnes Bennett Brooks Carter Clarke Cooper Davies Dixon Ellis Fisher Foster"
    " Graham Green Harris Hughes Hunt Jenkins Kelly Lawson Marsh Mills Morgan Murray Palmer"
    " Parker Reid Shaw Spencer Turner Walsh Watson Webb Wright Young"
).split()
_INDONESIAN_CITIES = (
    "Bandung Denpasar Jakarta Makassar Malang Medan Palembang Semarang Surabaya Yogyakarta"
).split()
_ENGLISH_CITIES = "Austin Boston Bristol Chicago Denver Leeds London Portland Seattle York".split()

# Reason → how often it is given (parts of 100), what is said in Indonesian, and in English.
LEAVING: dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]] = {
    "too_expensive": (
        31,
        ("Harganya terlalu mahal untuk usaha kecil.", "Anggaran kami dipotong tahun ini."),
        ("Too expensive for what we use.", "Our budget was cut."),
    ),
    "unused": (
        21,
        ("Kami jarang memakainya.", "Toko tutup sementara."),
        ("We hardly log in any more.", "The project ended."),
    ),
    "missing_features": (
        16,
        ("Belum ada laporan stok.", "Butuh integrasi dengan marketplace."),
        ("No stock reports.", "We need an integration with our shop."),
    ),
    "switched_service": (
        12,
        ("Pindah ke aplikasi lain.",),
        ("Moved to another tool that the head office uses.",),
    ),
    "too_complex": (
        6,
        ("Karyawan saya bingung memakainya.",),
        ("My staff could not get used to it.",),
    ),
    "customer_service": (
        4,
        ("Balasan dukungan terlalu lama.",),
        ("Support took four days to answer.",),
    ),
    "low_quality": (3, ("Sering lambat di jam sibuk.",), ("It is slow at lunch time.",)),
    "other": (7, ("Alasan pribadi.",), ("Personal reasons.",)),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who might become a customer."""

    name: str
    email: str
    phone: str | None
    country: str
    city: str
    locale: str


def somebody(chance: Random, number: int, *, is_indonesian: bool) -> Person:
    """Return an invented person; the number keeps their address unlike all others."""
    if is_indonesian:
        first, last = chance.choice(_INDONESIAN_FIRST), chance.choice(_INDONESIAN_LAST)
        city, country, locale = chance.choice(_INDONESIAN_CITIES), "ID", "id"
        phone = f"+62 812 {chance.randrange(10**4):04d} {chance.randrange(10**4):04d}"
    else:
        first, last = chance.choice(_ENGLISH_FIRST), chance.choice(_ENGLISH_LAST)
        city, country, locale = chance.choice(_ENGLISH_CITIES), chance.choice(("US", "GB")), "en"
        phone = f"+1 555 01{chance.randrange(100):02d}"
    return Person(
        f"{first} {last}",
        f"{first}.{last}.{number}@example.test".lower(),
        phone if chance.random() < 0.4 else None,
        country,
        city,
        locale,
    )


def reason_to_leave(chance: Random, locale: str) -> tuple[str, str | None]:
    """Return (feedback, comment or None) of a customer who leaves."""
    weights = [share for share, _, _ in LEAVING.values()]
    feedback = chance.choices(list(LEAVING), weights)[0]
    _, indonesian, english = LEAVING[feedback]
    said = chance.choice(indonesian if locale == "id" else english)
    return feedback, said if chance.random() < 0.45 else None
