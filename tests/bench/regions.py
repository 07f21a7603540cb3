"""Where the regions of a cloud stand: the towns that Google Cloud names for them, in tenths of a degree."""

from __future__ import annotations

from typing import Final

REGIONS: Final[dict[str, tuple[int, int]]] = {
    "asia-east1": (240, 1205),  # Changhua
    "asia-east2": (223, 1142),  # Hong Kong
    "asia-northeast1": (357, 1397),  # Tokyo
    "asia-northeast2": (347, 1355),  # Osaka
    "asia-northeast3": (376, 1270),  # Seoul
    "asia-south1": (191, 729),  # Mumbai
    "asia-south2": (286, 772),  # Delhi
    "asia-southeast1": (13, 1037),  # Singapore
    "asia-southeast2": (-62, 1068),  # Jakarta
    "australia-southeast1": (-339, 1512),  # Sydney
    "australia-southeast2": (-378, 1450),  # Melbourne
    "europe-central2": (522, 210),  # Warsaw
    "europe-north1": (606, 272),  # Hamina
    "europe-southwest1": (404, -37),  # Madrid
    "europe-west1": (504, 38),  # St. Ghislain
    "europe-west2": (515, -1),  # London
    "europe-west3": (501, 87),  # Frankfurt
    "europe-west4": (534, 68),  # Eemshaven
    "europe-west6": (474, 85),  # Zurich
    "europe-west8": (455, 92),  # Milan
    "europe-west9": (489, 23),  # Paris
    "northamerica-northeast1": (455, -736),  # Montreal
    "northamerica-northeast2": (437, -794),  # Toronto
    "southamerica-east1": (-235, -468),  # Sao Paulo
    "southamerica-west1": (-334, -707),  # Santiago
    "us-central1": (413, -959),  # Council Bluffs
    "us-east1": (332, -800),  # Moncks Corner
    "us-east4": (390, -775),  # Ashburn
    "us-east5": (400, -830),  # Columbus
    "us-south1": (328, -968),  # Dallas
    "us-west1": (456, -1212),  # The Dalles
    "us-west2": (341, -1182),  # Los Angeles
    "us-west3": (408, -1119),  # Salt Lake City
    "us-west4": (362, -1151),  # Las Vegas
}
