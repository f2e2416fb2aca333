import ArgumentParser
import ControlProtocol
import ExpertPlacement
import Files
import Listings

extension RunCommands {
    struct Plot: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "plot",
            abstract: "Draw what a run's ranks reported over its steps, as SVG.",
            discussion: """
                Vertical lines mark the first steps under new plans. balance: mean over largest of the ranks' seconds with experts, \
                what each plan was predicted to bring, and mean over largest of the experts' tokens; 1 is even. phases: a step's \
                seconds by phase, means over the ranks.
                """)

        enum Quantity: String, ExpressibleByArgument, CaseIterable {
            case loss, tokens, balance, phases
        }

        @Argument(help: "Name of the run (default: the one that was started last).")
        var run: String?
        @Option(name: .shortAndLong, help: ArgumentHelp("Where to write the picture; -: to stdout.", valueName: "file"))
        var output: String
        @Option(help: "What to draw.")
        var quantity = Quantity.loss
        @OptionGroup var coordinator: CoordinatorOptions

        func run() async throws {
            let (name, intervals, plans) = try await coordinator.ask { client in
                let name = try await client.chooseRun(run)
                return try await client.listingRunsIfUnknown {
                    (
                        name, try await client.allIntervals(of: name),
                        try await client.send(ListPlans(run: name)).plans
                    )
                }
            }
            if intervals.isEmpty { StandardError.write("Note: the ranks of \(name) have reported nothing yet.") }
            let svg = RunChart(run: name, intervals: intervals, plans: plans).chart(of: quantity).svg
            if output == "-" { return try StandardOutput.write(svg) }
            try OutputFile.write(svg, to: output)
        }
    }
}

extension ControlClient {
    /// All that is stored, page by page; an incarnation that went on from a checkpoint replaces what was done again.
    fileprivate func allIntervals(of run: String) async throws -> [Interval] {
        var intervals = [Interval]()
        while true {
            let page = try await send(ListIntervals(run: run, after: intervals.last?.number ?? 0))
            intervals += page.intervals
            guard page.truncated, !page.intervals.isEmpty else { break }
        }
        var kept = [Interval]()
        for interval in intervals {
            while let last = kept.last, last.incarnation < interval.incarnation, last.firstStep >= interval.firstStep {
                kept.removeLast()
            }
            kept.append(interval)
        }
        return kept
    }
}

/// The reports of a run over its steps.
struct RunChart {
    let run: String
    let intervals: [Interval]
    let plans: [PlanSummary]

    func chart(of quantity: RunCommands.Plot.Quantity) -> LineChart {
        switch quantity {
        case .loss: chart("loss", "cross-entropy", [series("loss", \.loss)])
        case .tokens: chart("tokens a second", "tokens/s", [series("all ranks", \.tokensPerSecond)])
        case .balance:
            chart(
                "balance", "mean over largest",
                [
                    series("ranks' seconds with experts", \.balance), series("experts' tokens", \.loadBalance),
                    predictions,
                ])
        case .phases: chart("a step by phase", "seconds", phases)
        }
    }

    private func chart(_ title: String, _ unit: String, _ series: [LineChart.Series]) -> LineChart {
        LineChart(
            title: "\(run): \(title)", x: LineChart.Axis("step"), y: LineChart.Axis(unit),
            series: series.filter { !$0.points.isEmpty }, marks: marks)
    }

    /// Numbers beyond these bounds are nobody's loss or seconds, and have no scale.
    private func series(_ name: String, _ value: (Interval) -> Double?) -> LineChart.Series {
        LineChart.Series(
            name,
            intervals.compactMap { interval in
                guard let y = value(interval), abs(y) < 1e30 else { return nil }
                return (Self.lastStep(interval), abs(y) < 1e-30 ? 0 : y)
            })
    }

    /// What the balance was to be under each plan that came into force and had a prediction.
    private var predictions: LineChart.Series {
        let active = plans.filter { $0.activatedAt != nil && $0.acceptedStep != nil }.sorted {
            $0.revision < $1.revision
        }
        let last = intervals.map(Self.lastStep).max() ?? 0
        let points = active.enumerated().flatMap { index, plan -> [(x: Double, y: Double)] in
            guard let balance = plan.prediction?.balanceAfter, let start = plan.acceptedStep.map(Double.init) else {
                return []
            }
            let end = index + 1 < active.count ? active[index + 1].acceptedStep.map(Double.init) : last
            return [(start, balance), (max(start, end ?? last), balance)]
        }
        return LineChart.Series("predicted", points)
    }

    private var phases: [LineChart.Series] {
        let names = Set(intervals.flatMap(\.phases.keys)).sorted()
        return names.map { name in series(name) { $0.phases[name]?.mean } }
    }

    /// Where experts moved.
    private var marks: [(x: Double, text: String)] {
        plans.compactMap { plan in
            guard plan.activatedAt != nil, let step = plan.acceptedStep, step > 0 else { return nil }
            return (Double(step), "plan \(plan.revision)")
        }
    }

    private static func lastStep(_ interval: Interval) -> Double {
        Double(interval.firstStep) + Double(interval.stepCount) - 1
    }
}
