import ArgumentParser
import ControlProtocol
import ExpertPlacement
import Listings

extension PlacementCommands {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show",
            abstract: "Show a run's active placement plan, or another of its plans.",
            discussion: """
                An expert's mesh is DP × TP: its replicas, and the ranks that share each. RANKS has a bracket for each \
                replica; NEURONS is the size of a rank's shard, OWNED how many of them a rank keeps the optimizer state \
                of. Layers and experts that are placed alike share a line. The last table adds up what each rank \
                holds: WEIGHTS in fp32, STATE the two moments of AdamW.
                """)

        @Option(help: "Name of the run (default: the one that was started last).")
        var run: String?
        @Option(help: "Only this layer, from 0.")
        var layer: Int?
        @Option(help: "Revision of the plan (default: the active one); placement history lists them.")
        var revision: Int?
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions
        @OptionGroup var watch: WatchOptions

        func validate() throws {
            if let layer, layer < 0 { throw ValidationError("--layer counts from 0, but is \(layer)") }
            if let revision, revision < 1 { throw ValidationError("--revision counts from 1, but is \(revision)") }
        }

        func run() async throws {
            let name = try await coordinator.ask { try await $0.chooseRun(run) }
            try await watch.show(output) { try await listing(of: name) }
        }

        private func listing(of run: String) async throws -> Listing {
            let report = try await coordinator.ask { client in
                try await client.listingRunsIfUnknown {
                    let placement = try await client.send(ShowPlacement(run: run, layer: layer, revision: revision))
                    let shown = try await client.send(ShowRun(run: run))
                    return try PlacementReport(
                        placement, model: shown.model, ownership: shown.ownership ?? .defaultPolicy)
                }
            }
            let text = try output.text(of: report) {
                [
                    report.heading,
                    PlacementTable.make(
                        report.placement.plan, ownership: report.ownership, firstLayer: report.placement.layer ?? 0),
                    report.rankTable,
                ]
            }
            return Listing(text: text)
        }
    }
}
