package core_test

import (
	"os"
	"strings"
	"testing"
)

// The statements of the project's description of Raft, by number, as far as they
// speak of the protocol. Each runs the script of the same number in testdata.

func TestSeed_S3_AllStartAsFollowers(t *testing.T) { runScript(t, "S3_all_start_as_followers") }
func TestSeed_S4_OneLeaderTakesEveryWrite(t *testing.T) {
	runScript(t, "S4_one_leader_takes_every_write")
}
func TestSeed_S5_AFollowerVotesAndFollows(t *testing.T) {
	runScript(t, "S5_a_follower_votes_and_follows")
}
func TestSeed_S6_AFollowerStandsWhenTheLeaderIsGone(t *testing.T) {
	runScript(t, "S6_a_candidate_stands_when_the_leader_is_gone")
}
func TestSeed_S7_AMajorityOfTheVotersElects(t *testing.T) {
	runScript(t, "S7_a_majority_of_the_voters_elects")
}
func TestSeed_S8_ElectionTimeoutsDiffer(t *testing.T) { runScript(t, "S8_timeouts_differ") }
func TestSeed_S9_TheFirstTimeoutStartsTheElection(t *testing.T) {
	runScript(t, "S9_the_first_timeout_starts_the_election")
}
func TestSeed_S10_OnlyAGrantedVoteResetsTheTimeout(t *testing.T) {
	runScript(t, "S10_only_a_granted_vote_resets_the_timeout")
}
func TestSeed_S11_AMajorityOfVotesMakesTheLeader(t *testing.T) {
	runScript(t, "S11_a_majority_of_votes_makes_the_leader")
}
func TestSeed_S12_HeartbeatsAreAnsweredAndKeepFollowersLoyal(t *testing.T) {
	runScript(t, "S12_heartbeats_are_answered_and_keep_followers_loyal")
}
func TestSeed_S13_AFollowerThatCannotHearTheLeaderStands(t *testing.T) {
	runScript(t, "S13_a_follower_that_cannot_hear_the_leader_stands")
}
func TestSeed_S15_TheHeartbeatTimeoutSaysHowOften(t *testing.T) {
	runScript(t, "S15_the_heartbeat_interval")
}
func TestSeed_S16_ASplitVoteIsAskedAgain(t *testing.T) { runScript(t, "S16_split_vote") }
func TestSeed_S17_AClientStoresAPair(t *testing.T)     { runScript(t, "S17_a_client_stores_a_pair") }
func TestSeed_S18_TheLeaderReplicatesAndWaitsForMost(t *testing.T) {
	runScript(t, "S18_the_leader_replicates_and_waits_for_most")
}
func TestSeed_S19_FollowersStoreIt(t *testing.T) { runScript(t, "S19_followers_store_it") }
func TestSeed_S20_TheLeaderAnswersAndTellsAll(t *testing.T) {
	runScript(t, "S20_the_leader_answers_and_tells_all")
}
func TestSeed_S21_AnEntryIsFirstUncommitted(t *testing.T) {
	runScript(t, "S21_an_entry_is_first_uncommitted")
}
func TestSeed_S22_TheEntryIsSentToTheFollowers(t *testing.T) {
	runScript(t, "S22_the_entry_is_sent_to_the_followers")
}
func TestSeed_S23_AMajorityCommits(t *testing.T)       { runScript(t, "S23_a_majority_commits") }
func TestSeed_S24_WhatWasCommittedStays(t *testing.T)  { runScript(t, "S24_what_was_committed_stays") }
func TestSeed_S25_BothSidesOfAPartition(t *testing.T)  { runScript(t, "S25_both_sides_of_a_partition") }
func TestSeed_S26_OnlyTheMajorityCommits(t *testing.T) { runScript(t, "S26_only_the_majority_commits") }
func TestSeed_S27_HealingRollsBackTheOldLeader(t *testing.T) {
	runScript(t, "S27_healing_rolls_back_the_old_leader")
}
func TestSeed_S28_DifferentKeysOnBothSides(t *testing.T) {
	runScript(t, "S28_different_keys_on_both_sides")
}
func TestSeed_S29_TheSameKeyOnBothSides(t *testing.T) { runScript(t, "S29_the_same_key_on_both_sides") }

// TestScripts runs the other scripts: the claims of the paper and of the
// dissertation, and what goes beyond them.
func TestScripts(t *testing.T) {
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".txt")
		if ok && !strings.HasPrefix(name, "S") {
			t.Run(name, func(t *testing.T) { runScript(t, name) })
		}
	}
}
