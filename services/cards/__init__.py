"""Cards: the model card of a version, from what really ran and what people said of it.

hears: model-registered, model-validated
says: card-rendered
owns: cards
never: invents what nobody said, hides what is missing, or changes a card once it is written
"""

from __future__ import annotations

from services.cards.decide import decide, key
from services.cards.effects import effects
from shared.service import Service

SERVICE = Service(
    name="cards",
    hears=("model-registered", "model-validated"),
    says=("card-rendered",),
    owns="cards",
    key=key,
    decide=decide,
    effects=effects,
)
