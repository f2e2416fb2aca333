import Listings
import Testing

@Suite struct TableTests {
    private static let text = "a text that is longer than much of what others have to say..."

    private func table(why: String = text) -> Table {
        var table = Table(
            [("STEP", .right), ("GAIN", .left), ("WHO", .left), ("WHY", .left)], whenEmpty: "nothing yet")
        table.add(["1200", "0.5 → 0.9", "rank 0 on node-1", why])
        return table
    }

    private func lines(_ table: Table, room: Int) -> [String] {
        table.narrowed(to: room, byWeight: ["GAIN", "WHY", "STEP", "WHO"]).text.split(separator: "\n").map(String.init)
    }

    /// Of 4, 9 and 16 columns and a text, with 3 blanks between.
    @Test(
        arguments: [
            (0...15, ["GAIN"]), (16...23, ["STEP", "GAIN"]), (24...58, ["GAIN", "WHY"]),
            (59...77, ["STEP", "GAIN", "WHY"]), (78...200, ["STEP", "GAIN", "WHO", "WHY"]),
        ])
    func columnsOfMostWeightStay(rooms: ClosedRange<Int>, headers: [String]) {
        for room in rooms {
            let lines = lines(table(), room: room)
            #expect(lines[0].split(separator: " ").map(String.init) == headers, "\(room)")
            // Nothing but the text goes over the edge, which is as it was.
            #expect(!headers.contains("WHY") || lines[1].hasSuffix(Self.text), "\(room)")
            #expect(room < 9 || lines[1].replacing(Self.text, with: "").count <= room, "\(room)")
        }
    }

    @Test func shortTextsLeaveRoomForOthers() {
        for (room, headers) in [(14, "GAIN"), (15, "GAIN        WHY"), (22, "STEP   GAIN        WHY")] {
            #expect(lines(table(why: "no"), room: room)[0] == headers)
        }
        #expect(
            lines(table(why: "no"), room: 41) == [
                "STEP   GAIN        WHO                WHY", "1200   0.5 → 0.9   rank 0 on node-1   no",
            ])
    }

    @Test func tablesWithoutRows() {
        let table = Table(
            [("STEP", .right), ("GAIN", .left), ("WHO", .left), ("WHY", .left)], whenEmpty: "nothing yet")
        #expect(lines(table, room: 5) == ["nothing yet"])
    }
}
