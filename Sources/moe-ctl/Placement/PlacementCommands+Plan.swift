import ArgumentParser
import ControlProtocol
import ExpertPlacement
import Listings

extension PlacementCommands {
    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "plan",
            abstract: "Let a run's allocator plan now, or plan for given loads without a coordinator.",
            usage: """
                moe-ctl placement plan [--run <run>] [--dry-run] [--why <text>] [--coordinator <host:port>] [--key-file <file>] [--format <format>]
                moe-ctl placement plan --loads <file> --ranks <ranks> [<options>] [--format <format>]
                """,
            discussion: """
                Without --loads the coordinator's planner looks at the run's loads and proposes a better plan if it \
                finds one; with --dry-run it only shows it. \
                With --loads no coordinator is asked: the plan is for those loads and --ranks ranks. As JSON or YAML it \
                is a plan that placement apply takes, for a run whose experts have the --width and whose model the --hidden-size \
                given here; the table shows the load of every rank beside that of \
                expert-parallel, which places whole experts in turn. A rank's load is in rows of whole experts; balance \
                is the mean over the largest of a layer's ranks: 1 is perfect.
                """)

        @OptionGroup(title: "Without a coordinator") var offline: OfflineOptions
        @OptionGroup var change: ChangeOptions
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions

        func validate() throws {
            guard offline.loads != nil else { return }
            let others: [(name: String, isGiven: Bool)] = [
                ("--run", change.run != nil), ("--dry-run", change.dryRun), ("--why", change.why != nil),
                ("--coordinator", CoordinatorOptions.isNamed(in: CommandLine.arguments)),
            ]
            if let other = others.first(where: \.isGiven) {
                throw ValidationError("with --loads no coordinator is asked: leave \(other.name) away")
            }
        }

        func run() async throws {
            if let loads = offline.loads, let ranks = offline.ranks {
                let question = try offline.question(loads: loads, ranks: ranks)
                let proposal = try question.propose()
                try output.write(proposal.plan) { OfflineReport(question, proposal).tables }
                return
            }
            let proposal = ProposePlacement(
                replan: true, dryRun: change.dryRun, who: change.who,
                why: change.why(otherwise: "an operator asked the planner"))
            let (reply, ownership) = try await coordinator.ask { client in
                var proposal = proposal
                let name = try await client.chooseRun(change.run)
                proposal.run = name
                return try await client.listingRunsIfUnknown { [proposal] in
                    // Before the proposal: when a plan is on its way, nothing may fail any more.
                    let ownership = try await client.send(ShowRun(run: name)).ownership
                    return (try await client.propose(proposal), ownership ?? .defaultPolicy)
                }
            }
            try output.write(reply) {
                [ProposalReport.table(reply, isDryRun: change.dryRun)]
                    + (reply.plan.map { [PlacementTable.make($0, ownership: ownership)] } ?? [])
            }
        }
    }
}
