"""Another price is another bill: what a change of COST_HARDWARE makes again, and what it asks."""

from __future__ import annotations

import pytest

from synth_assets.assets.keys import COST, HARDWARE, WASTE
from synth_assets.assets.reports import HTML_KEY


@pytest.mark.parametrize("change", [{"COST_HARDWARE": "8xH200-SXM"}, {"COST_GPU_HOUR_USD": "9.5"}])
def test_another_price_makes_bill_waste_and_page_again_and_asks_no_model(workplace, make_article, change):
    workplace.write("a.jsonl", [make_article(1)])
    workplace.run(has_reports=True)
    before = workplace.rows("SELECT cost_usd FROM reports.cost WHERE strategy = 'total'")
    sent = workplace.server.request_count
    workplace.environment |= change
    summary, project = workplace.run(has_reports=True)
    assert {key for key, _ in summary.materialized} <= {COST, WASTE, HTML_KEY}
    assert summary.materialized
    assert workplace.server.request_count == sent
    assert workplace.rows("SELECT cost_usd FROM reports.cost WHERE strategy = 'total'") != before
    assert workplace.run(has_reports=True)[0].materialized == []
    assert project.settings.hardware.name in str(project.roots.of(HARDWARE))
