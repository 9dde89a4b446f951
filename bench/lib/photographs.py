"""Millions of real 128-d descriptors: SIFT of the photographs that Debian's wallpaper packages ship.

Each photograph is taken at several sizes, from small to large until there are enough rows, and in
crops of CROP pixels; every crop gives some thousand descriptors (Lowe, 2004; OpenCV).  Equal
descriptors are taken once, and the order is random but always the same, so that the first million is
like the whole.
"""

import multiprocessing
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from dataset import CHUNK, DenseDataset
from system import note

PACKAGES = ("plasma-workspace-wallpapers", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "ukui-wallpapers",
            "gnome-backgrounds", "mate-backgrounds", "sway-backgrounds")
KINDS = (".jpg", ".jpeg", ".png", ".webp")
LEAST_PIXELS = 700_000
CROP = 768
CONTRAST = 0.01         # of SIFT; 0.04 is OpenCV's: a lower one gives more descriptors of plain parts
SIZES = [0.85 ** i for i in reversed(range(12))]
QUERIES = 1000
SEED = 20


def fetch(directory):
    """The packages' photographs, unpacked; nothing is installed."""
    directory.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        target = directory / package
        if target.exists():
            continue
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            # apt gives up its rights to a user that has to be able to write here.
            os.chmod(scratch, 0o777)
            if subprocess.run(["apt-get", "download", "-q", package], cwd=scratch, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode:
                note(f"note: apt-get cannot download {package}; it is left out")
                continue
            (archive,) = Path(scratch).glob("*.deb")
            unpacked = Path(scratch) / "unpacked"
            subprocess.run(["dpkg-deb", "-x", archive, unpacked], check=True)
            shutil.move(unpacked, target)


def images(directory):
    """Photographs, the largest file where one directory has the same in several sizes."""
    largest = {}
    for path in sorted(directory.rglob("*")):
        if path.suffix.lower() not in KINDS or not path.is_file() or path.is_symlink():
            continue
        key = (path.parent, None if re.fullmatch(r"\d+x\d+", path.stem) else path.stem)
        if key not in largest or path.stat().st_size > largest[key].stat().st_size:
            largest[key] = path
    return sorted(largest.values())


def descriptors(task):
    """All descriptors of a photograph at one size, as bytes."""
    import cv2

    path, size = task
    cv2.setNumThreads(1)
    sift = cv2.SIFT_create(contrastThreshold=CONTRAST)
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    found = [np.empty((0, 128), dtype=np.uint8)]
    if image is not None and image.size >= LEAST_PIXELS:
        if size < 1:
            image = cv2.resize(image, None, fx=size, fy=size, interpolation=cv2.INTER_AREA)
        for y in range(0, image.shape[0], CROP):
            for x in range(0, image.shape[1], CROP):
                _, rows = sift.detectAndCompute(image[y:y + CROP, x:x + CROP], None)
                if rows is not None:
                    found.append(rows.astype(np.uint8))
    return np.concatenate(found)


def collect(found, total):
    """Descriptors of the photographs, each once: at least so many, or all there are."""
    everything = np.empty((0, 128), dtype=np.uint8)
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for size in SIZES:
            tasks = [(path, size) for path in found]
            parts = list(tqdm(pool.imap(descriptors, tasks), total=len(tasks), desc=f"descriptors at {size:.2f}",
                              unit="photograph", disable=None))
            everything = unique(np.concatenate([everything, *parts]))
            note(f"{len(everything):,} descriptors")
            if len(everything) >= total:
                break
    return everything


def unique(rows):
    """Equal rows once, by a hash of 64 bits, in their order."""
    words = np.ascontiguousarray(rows).view(np.uint64)
    odd = np.random.default_rng(SEED).integers(0, 1 << 63, words.shape[1], dtype=np.uint64) * 2 + 1
    hashes = (words * odd).sum(axis=1, dtype=np.uint64)
    _, first = np.unique(hashes ^ (hashes >> np.uint64(29)), return_index=True)
    return rows[np.sort(first)]


def make(path, rows, spare, prefixes):
    """Write an HDF5 file with `rows` rows and `spare` more to insert, queries that are no rows, and
    the exact neighbours in all `rows` and in the first so many of `prefixes`."""
    pictures = path.parent / "photographs"
    fetch(pictures)
    found = images(pictures)
    total = rows + spare + QUERIES
    note(f"{len(found)} photographs")
    everything = collect(found, total)
    if len(everything) < total:
        raise SystemExit(f"these photographs give {len(everything):,} descriptors; {total:,} are wanted: use --rows")
    chosen = np.random.default_rng(SEED).permutation(len(everything))[:total]
    partial = path.with_suffix(".partial")
    with h5py.File(partial, "w") as file:
        file.attrs["distance"] = "euclidean"
        train = file.create_dataset("train", (rows + spare, 128), np.uint8, chunks=(CHUNK, 128))
        for at in range(0, rows + spare, CHUNK):
            train[at:at + CHUNK] = everything[chosen[QUERIES + at:QUERIES + min(at + CHUNK, rows + spare)]]
        file["test"] = everything[chosen[:QUERIES]]
    del everything
    for n in sorted({rows, *prefixes}):
        truth = DenseDataset(partial, rows=n, k=100)
        neighbours = truth.truth()
        truth.file.close()
        with h5py.File(partial, "a") as file:
            file[f"neighbors_{n}"] = neighbours
    partial.rename(path)


def file_for(cache, rows, spare, prefixes):
    """The file of that many rows, made if it is not there."""
    path = Path(cache) / f"photographs-{rows // 1000}k-128-euclidean.hdf5"
    if not path.exists():
        note(f"making {path.name}: for ten million rows an hour of processor time, or less")
        make(path, rows, spare, prefixes)
    return path
