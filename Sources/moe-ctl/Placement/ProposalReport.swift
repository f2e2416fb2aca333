import ControlProtocol
import ExpertPlacement
import Listings

/// What came of a proposal, or would come, for people to read.
enum ProposalReport {
    static func table(_ reply: PlacementProposed, isDryRun: Bool) -> Table {
        var entries: [(name: String, value: String)] = [("Run", reply.run)]
        if reply.plan == nil {
            entries.append(("Proposed", "nothing"))
        } else if isDryRun {
            entries.append(("Proposed", "nothing, this is a dry run"))
        } else {
            entries.append(("Proposed", "revision \(Readable.number(reply.revision))"))
        }
        if let prediction = reply.prediction { entries += lines(prediction) }
        entries.append(("Why", reply.why))
        return .details(entries)
    }

    static func lines(_ prediction: PlanPrediction) -> [(name: String, value: String)] {
        var lines = [
            ("Predicted balance", Readable.change(prediction.balanceBefore, prediction.balanceAfter, Readable.balance))
        ]
        // Without loads, nothing is known of a step's time.
        if prediction.secondsBefore > 0 || prediction.secondsAfter > 0 {
            lines.append(
                (
                    "Experts' time",
                    Readable.change(prediction.secondsBefore, prediction.secondsAfter, Readable.seconds) + " a step"
                ))
        }
        let (bytes, seconds) = (Readable.bytes(prediction.bytes), Readable.seconds(prediction.moveSeconds))
        lines.append(("Bytes to move", "\(bytes), in \(seconds)"))
        return lines
    }
}
