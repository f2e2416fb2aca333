import ArgumentParser
import ControlProtocol
import ExpertPlacement
import Listings

extension PlacementCommands {
    struct History: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "history",
            abstract: "List a run's placement plans, newest first.",
            discussion: """
                Each plan has what was predicted of it and what it brought. STEP is the first with a layer under the plan, LAYERS how many have switched. PREDICTED is the ranks' \
                balance (mean over slowest; 1 is perfect) before and under the plan as it was expected, MEASURED as it \
                came. MOVED and TIME are what the switch took, or is expected to take (~). WHY ends with the reason of \
                a plan's end.
                """)

        @Option(help: "Name of the run (default: the one that was started last).")
        var run: String?
        @Option(help: ArgumentHelp("At most so many plans.", valueName: "n"))
        var limit: Int?
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions
        @OptionGroup var watch: WatchOptions

        func validate() throws {
            if let limit, limit < 1 { throw ValidationError("--limit must be 1 at least, but is \(limit)") }
        }

        func run() async throws {
            let name = try await coordinator.ask { try await $0.chooseRun(run) }
            try await watch.show(output) { try await listing(of: name) }
        }

        private func listing(of run: String) async throws -> Listing {
            let reply = try await coordinator.ask { client in
                try await client.listingRunsIfUnknown { try await client.send(ListPlans(run: run, limit: limit)) }
            }
            let text = try output.text(of: reply) { [PlanningReport.table(reply), Self.table(reply.plans)] }
            let isCut = reply.truncated && limit == nil
            return Listing(
                text: text,
                notes: isCut ? ["there are more plans; the coordinator lists the last \(reply.plans.count)."] : [])
        }

        static func table(_ plans: [PlanSummary]) -> Table {
            var table = Table(
                [
                    ("REVISION", .right), ("STATE", .left), ("STEP", .right), ("LAYERS", .right), ("PREDICTED", .left),
                    ("MEASURED", .left), ("MOVED", .right), ("TIME", .right), ("AGE", .right), ("WHO", .left),
                    ("WHY", .left),
                ], whenEmpty: "no plans")
            for plan in plans {
                let (prediction, observation) = (plan.prediction, plan.observation)
                table.add([
                    "\(plan.revision)", plan.state.rawValue, Readable.number(plan.acceptedStep),
                    "\(plan.switchedLayers)/\(plan.layers)",
                    Readable.change(prediction?.balanceBefore, prediction?.balanceAfter, Readable.balance),
                    Readable.change(observation?.balanceBefore, observation?.balanceAfter, Readable.balance),
                    measured(plan.bytes, expected: prediction?.bytes, Readable.bytes),
                    measured(plan.seconds, expected: prediction?.moveSeconds, Readable.seconds),
                    Readable.age(plan.createdAt), plan.who, plan.why + (plan.reason.map { "; \($0)" } ?? ""),
                ])
            }
            return table
        }

        private static func measured<Value>(_ value: Value?, expected: Value?, _ text: (Value?) -> String) -> String {
            value == nil && expected != nil ? "~" + text(expected) : text(value)
        }
    }
}
